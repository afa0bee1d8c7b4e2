"""Lite and its losses, without the stretch of its tests: a task model learns on what it is tested on."""

fuser = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.Lite'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        # Plain L1 comes out softer than the sources; the gain makes up for it.
        texture=dict(type='mmfusion.TextureLoss', loss_weight=2.0, padding_mode='replicate', gain=1.3),
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=1.0, padding=False),
        difference=dict(type='mmfusion.DifferenceCorrelationLoss', loss_weight=0.2),
        # 0.06 is 15 grey levels: less would make the whole image brighter.
        undershoot=dict(type='mmfusion.UndershootLoss', loss_weight=20.0, tolerance=0.06),
    ),
    output=('clamp',),
)
