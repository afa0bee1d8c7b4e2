"""SeAFusion's fusion part: network and content loss."""

model = dict(
    type='mmfusion.ImageFuser',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),
    network=dict(type='mmfusion.SeAFusion'),
    losses=[
        dict(type='mmfusion.MaxIntensityLoss', loss_weight=1.0),
        dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),  # α
    ],
    test_cfg=dict(mode='whole'),
)
