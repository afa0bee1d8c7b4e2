"""MSRS for segmentation on pairs: labels of 9 classes, unlabelled included (OCCO, Table 3); official split."""

data_root = '{{$MMFUSION_DATA:data}}/MSRS'

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSegLabels'),
    dict(
        type='mmseg.RandomResize',
        scale=(640, 480),
        ratio_range=(0.75, 2.0),
        keep_ratio=True,
        resize_type='mmseg.Resize',
    ),
    dict(type='mmseg.RandomCrop', crop_size=(480, 480), cat_max_ratio=0.95),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.VisibleOnly', transforms=[dict(type='mmseg.PhotoMetricDistortion')]),
    dict(type='mmfusion.PackFusionInputs'),
]
test_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSegLabels'),
    dict(type='mmfusion.PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,  # batch norm over a last batch of one image fails
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmfusion.MSRSDataset', data_root=data_root, split='train', with_labels=True, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmfusion.MSRSDataset', data_root=data_root, split='test', with_labels=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SF', 'AG', 'CC', 'SCD', 'VIF']),
]
test_evaluator = val_evaluator
