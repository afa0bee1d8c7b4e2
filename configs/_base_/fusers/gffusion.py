"""GFFusion without its segmenter: CLIP's tokens, FuNet with FINet, structure and texture loss (section III-B)."""

fuser = dict(
    type='mmfusion.ImageFuser',
    # Patch tokens of layers 1 … 11 of ViT-B/16 at 224×224 (section III-B.2). OpenAI's weights need quick-GELU.
    priors=dict(
        prior=dict(
            type='mmfusion.CLIPPrior',
            model='ViT-B-16-quickgelu',
            pretrained='{{$MMFUSION_CLIP:openai}}',
            layers=tuple(range(1, 12)),
            embedding=False,
        )
    ),
    network=dict(
        type='mmfusion.GFFusion',
        channels=(16, 48),  # eq. 5, one GRDB; SeAFusion's two are (16, 32, 48)
        # Weighted-Sum is the best of Table 2. Another module's config may stand here, such as MGFusion's CII.
        injection=dict(type='mmfusion.FINet', prior_channels=768, num_layers=11, merge='weighted_sum'),
    ),
    losses=dict(
        # Eq. 10: (1 − SSIM)/2 with either source, and the texture loss with β, which the paper does not give: the factor
        # of SeAFusion, whose loss it is. `I_improve` is the infrared image.
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=0.5),
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=10.0),
    ),
)
