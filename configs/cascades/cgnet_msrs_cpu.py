"""cgnet_msrs.py cut to fit a processor: crops of 240×240 of images at half size, 12 epochs, no validation."""

_base_ = './cgnet_msrs.py'

half = [
    dict(type='mmseg.Resize', scale=(320, 240), keep_ratio=True),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(240, 240), cat_max_ratio=0.95),
]
model = dict(segmentor=dict(data_preprocessor=dict(size=(240, 240))))
pipeline = [*_base_.train_pipeline[:2], *half, *_base_.train_pipeline[-2:]]
train_dataloader = dict(batch_size=6, num_workers=1, dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=12, by_epoch=True, convert_to_iter_based=True)
]
val_cfg = None
val_dataloader = None
val_evaluator = None
# Sees what training saw; labels keep their size, and so does what is scored.
test_pipeline = [
    _base_.test_pipeline[0],
    half[0],
    _base_.test_pipeline[1],
    dict(type='mmfusion.PackFusionInputs', labels_at_ori_shape=True),
]
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
# Three classes, as without training: the others cover next to nothing in the pairs at night.
test_evaluator = dict(
    _delete_=True,
    type='mmfusion.MappedIoUMetric',
    class_map=dict(car=[], person=[], bike=[]),
    predicted='mmfusion.MSRSDataset',
    groups=dict(day='*D', night='*N'),
    iou_metrics=['mIoU'],
)
default_hooks = dict(checkpoint=dict(save_best=None))
del half, pipeline
