"""TarDAL's direct training on RoadScene with masks of salient objects (docs/masks.md); numbers from the public code."""

_base_ = ['./tardal_tno.py', '../_base_/datasets/roadscene_crops.py']

size, epochs, warmup = 224, 1000, 10
model = dict(
    type='mmfusion.AdversarialFuser',
    losses=dict(
        source=dict(
            type='mmfusion.TarDALLoss',
            # The authors' file for this is in torchvision's names: https://github.com/JinyuanLiu-CV/TarDAL/releases
            prior=dict(type='mmfusion.VGGPrior', arch='vgg16', weights='{{$MMFUSION_VGG16:imagenet}}'),
            loss_weight=0.8,
        )
    ),
    discriminators=dict(
        target=dict(type='mmfusion.TarDALTargetDiscriminator', size=size, loss_weight=0.2 * 0.5),
        detail=dict(type='mmfusion.TarDALDetailDiscriminator', size=size, loss_weight=0.2 * 0.5),
    ),
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmseg.Resize', scale=(size, size), keep_ratio=False),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(with_masks=True, pipeline=train_pipeline))

adam = dict(
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.937, 0.999), weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
optim_wrapper = dict(constructor='mmfusion.ModuleOptimWrapperConstructor', fuser=adam, discriminators=adam)
param_scheduler = [dict(type='LinearLR', start_factor=1.0, end_factor=1e-3, begin=0, end=epochs, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=50)
late = [dict(value=0.0, end=warmup), dict(value=0.2 * 0.5)]
default_hooks = dict(
    checkpoint=dict(interval=50),
    warmup=dict(
        type='mmfusion.LossWeightHook',
        weights={'discriminators.target.loss_weight': late, 'discriminators.detail.loss_weight': late},
    ),
)
