"""FusionGAN on RoadScene; numbers from the public code, whose own training pairs are of TNO and not all in it."""

_base_ = ['./fusiongan_tno.py', '../_base_/datasets/roadscene_crops.py']

patch = 120
model = dict(
    type='mmfusion.AdversarialFuser',
    # What it learns is used in tests, too: spectral norm, and batch norm with its own scale, shift and statistics.
    network=dict(variant='paper'),
    losses=dict(content=dict(type='mmfusion.FusionGANLoss', gradient=5.0)),
    discriminators=dict(
        visible=dict(type='mmfusion.FusionGANDiscriminator', size=patch, inputs=dict(real='vi', fake='fused'))
    ),
    discriminator_steps=2,
)

train_pipeline = _base_.train_pipeline
train_pipeline[1].crop_size = (patch, patch)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    constructor='mmfusion.ModuleOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='Adam', lr=1e-4)),
    discriminators=dict(optimizer=dict(type='Adam', lr=1e-4)),
)
# 10 epochs of patches every 14 pixels: about 358 of an image of RoadScene.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10 * 358, val_interval=358)
default_hooks = dict(checkpoint=dict(interval=358))
