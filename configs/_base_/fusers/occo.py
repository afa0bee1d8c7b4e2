"""OCCO: FIFN with its losses, as the public code has them; 'variant' chooses the paper's reading where they differ."""

fuser = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.FIFN', variant='official'),
    losses=dict(
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=1.0),  # eq. 19
        intensity=dict(type='mmfusion.MaskedIntensityLoss', loss_weight=10.0),  # ω4, section 4.1.2
        texture=dict(type='mmfusion.TextureLoss', loss_weight=1.0),  # ω5, section 4.1.2
        contrastive=dict(
            type='mmfusion.ContextualContrastiveLoss',
            prior=dict(type='mmfusion.VGGPrior', arch='vgg19', weights='{{$MMFUSION_VGG19:imagenet}}'),
            groups=4,  # b, section 4.1.2: "the ratio of negative samples is 4"
            omega=(0.5, 0.5, 0.5),  # ω1, ω2, ω3, section 4.1.2
            variant='official',
            empty='keep',  # images without a region stay in its term: public code
            loss_weight=10.0,  # ω6, section 4.1.2
        ),
    ),
)
