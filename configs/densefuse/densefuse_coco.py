"""DenseFuse's auto-encoder on MS-COCO; numbers from the public PyTorch code."""

_base_ = ['./densefuse_tno.py', '../_base_/datasets/train_loader.py']

# MSE on images in 0…255 + λ (1 − SSIM), λ = 100 of the published weights' range 1 … 1e4.
loss = dict(type='mmfusion.ReconstructionLoss', ssim_weight=2 * 100.0, scale=255.0)
model = dict(losses=dict(reconstruction=loss), output=(), network=dict(rule='mean'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcv.Resize', scale=(256, 256)),
    dict(type='mmfusion.PackFusionInputs', channels=3),
]
train_dataloader = dict(
    batch_size=4,
    drop_last=True,
    dataset=dict(
        type='mmfusion.ImageDataset',
        data_prefix=dict(img_path='{{$MMFUSION_DATA:data}}/COCO/train2014'),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
default_hooks = dict(
    stages=dict(type='mmfusion.StagedTrainingHook', stages=[dict(train=['network'], phase='reconstruct')])
)
