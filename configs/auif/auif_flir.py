"""AUIF on single grey images of FLIR, visible and infrared together; numbers from the public code."""

_base_ = ['./auif_tno.py', '../_base_/datasets/train_loader.py']

# MSE + 5 × kornia's (1 − SSIM) / 2 with a window of 3.
model = dict(losses=dict(reconstruction=dict(type='mmfusion.ReconstructionLoss', ssim_weight=5.0, window=3)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # The public code's RandomResizedCrop also stretches: 8 to 100 % of the area.
    dict(
        type='mmcv.RandomResize', scale=(512, 512), ratio_range=(0.3, 1.0), keep_ratio=True, resize_type='mmcv.Resize'
    ),
    dict(type='mmengine.Pad', size=(128, 128), padding_mode='reflect'),  # wide images become less than 128 high
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs', channels=3),
]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        type='mmfusion.ImageDataset',
        data_prefix=dict(img_path='{{$MMFUSION_DATA:data}}/FLIR/all'),
        pipeline=train_pipeline,
    ),
)
# A tenth of the rate for the steps of the detail (public code).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-2),
    paramwise_cfg=dict(custom_keys={'network.detail': dict(lr_mult=0.1)}),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[41, 81], gamma=0.1, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_interval=20)
default_hooks = dict(
    stages=dict(type='mmfusion.StagedTrainingHook', stages=[dict(train=['network'], phase='reconstruct')])
)
