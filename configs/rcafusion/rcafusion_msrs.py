"""RCAFusion on MSRS, trained and tested as its public code does it.

Tests stretch the colour image to its full range and cut it to 8 bits. In training whole images one by one; the public
code names no data set but reads MSRS's files. Its first epoch has 1e-3 / 0.75.
"""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.RCAFusion'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),
        ssim=dict(type='mmfusion.EntropyWeightedSSIMLoss', loss_weight=10.0),
    ),
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded', stretch=True),
    test_cfg=dict(rounding='truncate'),
)

msrs = dict(type='mmfusion.MSRSDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS')
train_pipeline = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]
train_dataloader = dict(batch_size=1, dataset=dict(split='train', pipeline=train_pipeline, **msrs))
val_dataloader = dict(dataset=dict(split='test', **msrs))
test_dataloader = val_dataloader

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3 / 0.75))
param_scheduler = [dict(type='ExponentialLR', gamma=0.75, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
