"""Lite and its losses, without the stretch of its tests: a task model learns on what it is tested on."""

fuser = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.Lite'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        # Plain L1 comes out softer than the sources; the gain makes up for it.
        texture=dict(type='mmfusion.TextureLoss', loss_weight=2.0, padding_mode='replicate', gain=1.25),
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=0.4, padding=False),
        difference=dict(type='mmfusion.DifferenceCorrelationLoss', loss_weight=0.2),
    ),
    output=('clamp',),
)
