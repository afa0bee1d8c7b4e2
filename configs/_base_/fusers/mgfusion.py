"""MGFusion: CLIP's image embeddings, network and losses (section 3)."""

fuser = dict(
    type='mmfusion.ImageFuser',
    # "The pre-trained weights provided by the authors of CLIP": which of their models is not said. They need quick-GELU.
    priors=dict(
        prior=dict(
            type='mmfusion.CLIPPrior',
            model='ViT-B-16-quickgelu',
            pretrained='{{$MMFUSION_CLIP:openai}}',
            layers=(),
            embedding=True,
        )
    ),
    # C, N and the heads are not given in the paper: these are about what its batch of 16 leaves room for on its GPU of 24 GB
    # (docs/methods/mgfusion.md). embed_dim is E of ViT-B/16.
    network=dict(
        type='mmfusion.MGFusion',
        channels=16,
        num_blocks=2,
        block=dict(type='mmfusion.RestormerBlock', num_heads=2),
        cii=dict(type='mmfusion.CII', embed_dim=512),
        cff=dict(type='mmfusion.CFF', embed_dim=512),
    ),
    losses=dict(
        # ℓ_f = ℓ_g + λ ℓ_i, λ = 0.2 (section 4.2). The formula is missing from the text at hand, so that λ may belong to
        # the other term.
        texture=dict(type='mmfusion.TextureLoss', separate=False, loss_weight=1.0),
        intensity=dict(type='mmfusion.MaxIntensityLoss', loss_weight=0.2),
    ),
)
