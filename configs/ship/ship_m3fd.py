"""SHIP trained as its public code does, on M3FD.

From its options file: patches of 128×128 with flips and quarter turns, batch 4, Adam 1e-4 × 0.75 after 15,000 and 25,000 of
100,000 steps, weights 3, 10, 10 of the losses, and a folder "M3FD_Fusion_test": the 300 pairs of the fusion part. Its
saliency maps are behind a link; here a visual saliency map is computed in each step, or read where a dataset gives one.
"""

_base_ = ['./ship_tno.py', '../_base_/datasets/train_loader.py']

model = dict(
    losses=dict(
        saliency=dict(type='mmfusion.SHIPSaliencyLoss', loss_weight=3.0),
        intensity=dict(type='mmfusion.MaxIntensityLoss', loss_weight=10.0),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),
    )
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmengine.Pad', size=(128, 128), padding_mode='reflect'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root='{{$MMFUSION_DATA:data}}/M3FD',
        split='fusion',
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[15000, 25000], gamma=0.75)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1334, val_interval=50)  # 75 steps an epoch
default_hooks = dict(checkpoint=dict(interval=50))
