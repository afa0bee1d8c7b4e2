"""SeAFusion's fusion part: network and content loss."""

fuser = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SeAFusion'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss', loss_weight=1.0),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),  # α
    ),
)
