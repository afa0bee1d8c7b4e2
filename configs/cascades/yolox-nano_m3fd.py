"""YOLOX-nano fine-tuned from its COCO weights on M3FD, for `mmfusion downstream`.

The config's own fuser is SeAFusion: `frozen:FILE`, `joint:FILE`. MMFUSION_YOLOX names the detector's checkpoint; its head of
80 classes does not fit and starts anew, which the log says.
"""

_base_ = ['mmdet::yolox/yolox_nano_8xb8-300e_coco.py', '../_base_/fusers/seafusion.py']

from mmfusion.datasets.transforms import adapt_pipeline

detector = _base_.model
detector.bbox_head.num_classes = 6
detector.init_cfg = dict(type='Pretrained', checkpoint='{{$MMFUSION_YOLOX:data/weights/yolox_nano_coco_mmdet.pth}}')
detector.data_preprocessor.batch_augments = None  # one size, for which the pairs are fused

fuser = _base_.fuser
model = dict(_delete_=True, type='mmfusion.FusionDetector', fuser=fuser, detector=detector)

data_root = '{{$MMFUSION_DATA:data}}/M3FD'
splits = '{{ fileDirname }}/../_base_/datasets/splits'
pairs = dict(type='mmfusion.M3FDDataset', data_root=data_root, with_boxes=True)
# Whole images, as the fuser sees them in a test; 832 wide, since most people are small.
test_pipeline = adapt_pipeline([dict(t, scale=(832, 832)) if t.type == 'Resize' else t for t in _base_.test_pipeline])
train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    *test_pipeline[1:3],
    dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**pairs, ann_file=f'{splits}/m3fd_train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**pairs, ann_file=f'{splits}/m3fd_val.txt', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmdet.CocoMetric', metric='bbox', classwise=True)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=20, val_interval=5)
param_scheduler = [
    dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=5e-5, begin=1, end=20, by_epoch=True, convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys={'fuser.network': dict(lr_mult=0.1)}))
# The stock hooks switch mosaics off, which are not used here; its average of the weights stays.
custom_hooks = [hook for hook in _base_.custom_hooks if hook.type == 'EMAHook']
default_hooks = dict(
    reproducible=dict(type='mmfusion.ReproducibleEpochHook'),
    task_classes=dict(type='mmfusion.TaskClassesHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)
