_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.registration'])

model = dict(
    network=dict(type='RegistrationNet'),
    losses=dict(ssim=dict(type='mmfusion.SSIMLoss')),
)
