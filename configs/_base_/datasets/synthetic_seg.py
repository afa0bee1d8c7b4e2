"""Synthetic scenes for segmentation on pairs, 6 classes, rendered on the fly: nothing has to be downloaded."""

train_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_bbox=False),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
test_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_bbox=False),
    dict(type='mmfusion.PackFusionInputs'),
]

size = (120, 160)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmfusion.SyntheticDataset', num=400, seed=0, size=size, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmfusion.SyntheticDataset', num=50, seed=0, start=50000, size=size, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SF', 'AG', 'CC', 'SCD', 'VIF']),
]
test_evaluator = val_evaluator
