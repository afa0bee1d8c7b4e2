_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.decomposition'])

model = dict(
    network=dict(type='DecompositionNet'),
    losses=dict(
        reconstruction=dict(type='PairReconstructionLoss'),
        decomposition=dict(type='DecompositionLoss'),
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        texture=dict(type='mmfusion.TextureLoss'),
    ),
    output=('clamp',),
)
first = dict(train=['network'], phase='decompose', losses=['reconstruction', 'decomposition'], end=1)
second = dict(train=['network'], losses=['intensity', 'texture', 'decomposition'])
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=[first, second]))
