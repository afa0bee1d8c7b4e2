"""SwinFusion on MSRS, trained and tested as its public code does it.

Tests pad by mirroring to more than a multiple of 8, clip and round. The released weights are the exponential mean after
10,000 steps of 12 patches: 111 epochs of 1083 pairs. The rate would be halved at 250,000 steps and later.
"""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SwinFusion'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss', loss_weight=20.0),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=20.0),
        ssim=dict(type='mmfusion.WeightedSSIMLoss', loss_weight=10.0),
    ),
    size_divisor=8,
    test_cfg=dict(luminance='round', padding='swinir', output=('clamp',)),
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
msrs = dict(type='mmfusion.MSRSDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS')
train_dataloader = dict(drop_last=True, dataset=dict(split='train', pipeline=train_pipeline, **msrs))
val_dataloader = dict(dataset=dict(split='test', **msrs))
test_dataloader = val_dataloader

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-5))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=111, val_interval=37)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(ema=dict(type='EMAHook', momentum=0.001))
