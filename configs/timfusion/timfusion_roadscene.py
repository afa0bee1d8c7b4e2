"""TIMFusion's two parts trained together on RoadScene; losses, patch, batch, rate and epochs are ours.

The public code has the search's optimizer and no training. The method's other parts, the search, the guidance by a task and
the meta-learned initialisation, are not here; a task can guide it as any fuser in a cascade.
"""

_base_ = ['./timfusion_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    network=dict(variant='paper'),
    losses=dict(
        ssim=dict(type='mmfusion.SSIMLoss'),
        texture=dict(type='mmfusion.TextureLoss', loss_weight=10.0),
        intensity=dict(type='mmfusion.MaxIntensityLoss', loss_weight=10.0),
    ),
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=50)
default_hooks = dict(checkpoint=dict(interval=50))
