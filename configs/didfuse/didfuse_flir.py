"""DIDFuse on pairs of FLIR; numbers from the public code, which takes 180 of them in two flat folders."""

_base_ = './didfuse_tno.py'

model = dict(losses=dict(decomposition=dict(type='mmfusion.DIDFuseLoss')))
train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmcv.CenterCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=24,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/FLIR',
        data_prefix=dict(vi_path='VIS', ir_path='IR'),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='MultiStepLR', milestones=[40, 80], gamma=0.1, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=120, val_interval=20)
default_hooks = dict(
    stages=dict(type='mmfusion.StagedTrainingHook', stages=[dict(train=['network'], phase='decompose')])
)
