"""MUFusion trained on patches of 128×128 cut beforehand, as its public code does it; validated on TNO.

Folders ``VIS`` and ``IR`` with patches under the same names. The public code has 20,565 of them, cut from RoadScene or
TNO by a script whose distance between patches is 12. Neither flips nor crops: the memory is of whole patches.
"""

_base_ = ['./mufusion_tno.py', '../_base_/datasets/train_loader.py']

# VGG19 sees 0…1 without ImageNet's mean and deviation. Both λ are 10.
vgg = dict(
    type='mmfusion.VGGPrior',
    arch='vgg19',
    weights='{{$MMFUSION_VGG19:imagenet}}',
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
model = dict(losses=dict(mufusion=dict(type='mmfusion.MUFusionLoss', prior=vgg)))

train_dataloader = dict(
    batch_size=48,
    drop_last=True,
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/IV_Patches',
        data_prefix=dict(vi_path='VIS', ir_path='IR'),
        pipeline=[dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')],
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
