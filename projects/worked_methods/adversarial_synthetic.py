_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.adversarial'])

judge = dict(type='mmfusion.Discriminator', channels=(8, 16), loss_weight=0.1)
model = dict(
    type='mmfusion.AdversarialFuser',
    network=dict(type='GeneratorNet'),
    losses=dict(intensity=dict(type='mmfusion.MaxIntensityLoss')),
    discriminators=dict(detail=dict(inputs=dict(real='vi', fake='fused'), **judge),
                        target=dict(inputs=dict(real='ir', fake='fused'), **judge)),
    output=('range', -1, 1),
)  # fmt: skip
adam = dict(optimizer=dict(type='Adam', lr=1e-3))
per_module = 'mmfusion.ModuleOptimWrapperConstructor'
optim_wrapper = dict(_delete_=True, constructor=per_module, fuser=adam, discriminators=adam)
