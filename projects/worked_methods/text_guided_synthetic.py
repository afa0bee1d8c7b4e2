_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.text_guided'])

clip = dict(
    embed_dim=16, vision_cfg=dict(), text_cfg=dict(width=16, heads=2, layers=1, context_length=12, vocab_size=49408)
)
model = dict(
    network=dict(type='TextGuidedNet', text_channels=16),
    priors=dict(clip_text=dict(type='mmfusion.CLIPTextPrior', model=clip, pretrained='random')),
    losses=dict(intensity=dict(type='mmfusion.MaxIntensityLoss')),
    color=dict(type='mmfusion.RGBColor'),
    size_divisor=16,
)
