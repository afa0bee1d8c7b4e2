_base_ = [
    '../_base_/models/gffusion_joint.py',
    '../_base_/datasets/msrs_seg.py',
    '../_base_/schedules/gffusion_joint_100e.py',
]

# The size of the batch and of the patches is not given: 336 is 24 of DINOv2's patches of 14.
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(336, 336), cat_max_ratio=0.95),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
# Section IV-A.3; its VIF cites Han, whose metric is VIFF: both.
val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD', 'VIF', 'VIFF']),
]
test_evaluator = val_evaluator
