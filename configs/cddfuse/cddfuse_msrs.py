"""CDDFuse trained on MSRS in its two phases: decomposition and reconstruction, then fusion; validated on TNO.

The public code cuts up to six patches of 128×128 from each pair, every 200 pixels, without those of low contrast, and
trains 40 + 80 epochs on them. Here a random patch is cut from each pair, so that six epochs are one there. It clips the
gradient's norm at 0.01 in each of its four parts, and here in all of them together.
"""

_base_ = ['./cddfuse_tno.py', '../_base_/datasets/train_loader.py']

model = dict(
    losses=dict(
        reconstruction=dict(type='mmfusion.CDDFuseReconstructionLoss'),
        decomposition=dict(type='mmfusion.CorrelationDecompositionLoss', loss_weight=2.0),
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),
    )
)
first = dict(train=['network'], phase='reconstruct', losses=['reconstruction', 'decomposition'], end=240)
second = dict(train=['network'], losses=['decomposition', 'intensity', 'texture'])
default_hooks = dict(
    stages=dict(type='mmfusion.StagedTrainingHook', stages=[first, second]), checkpoint=dict(interval=24)
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type='mmfusion.MSRSDataset',
        data_root='{{$MMFUSION_DATA:data}}/MSRS',
        split='train',
        pipeline=train_pipeline,
    ),
)
# Halved every 20 of its epochs. The fusion layers begin at 1e-4 in phase II, when the rest is at a quarter of it.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-4),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(custom_keys={'network.fuse_': dict(lr_mult=4.0)}),
)
param_scheduler = [dict(type='StepLR', step_size=120, gamma=0.5, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=720, val_interval=24)
find_unused_parameters = True  # in several processes: the first phase does not use the fusion layers
