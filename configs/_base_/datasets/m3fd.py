"""M3FD for fusion training as OCCO does it.

There is no official split: a seeded list divides the detection part into 3360 and 840 pairs. Tested on the 300 pairs of
the fusion part, as the papers do.
"""

data_root = '{{$MMFUSION_DATA:data}}/M3FD'

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmfusion.ForegroundCrop', crop_size=(256, 256)),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
test_pipeline = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]

# The batch must split into the groups of OCCO's contrastive loss, so an incomplete last one is dropped.
train_dataloader = dict(
    batch_size=12,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root=data_root,
        ann_file='{{ fileDirname }}/splits/m3fd_train.txt',
        with_masks=True,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root=data_root,
        ann_file='{{ fileDirname }}/splits/m3fd_val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmfusion.M3FDDataset', data_root=data_root, split='fusion', pipeline=test_pipeline),
)

# OCCO's four metrics, and two that tell how much of the sources is left.
val_evaluator = dict(type='mmfusion.FusionMetric', metric=['EN', 'SF', 'AG', 'CC', 'SCD', 'VIF'])
test_evaluator = val_evaluator
