# In a project outside of this checkout: 'mmfusion::_base_/datasets/synthetic.py' and so on.
_base_ = [
    '../../configs/_base_/datasets/synthetic.py',
    '../../configs/_base_/default_runtime.py',
]
custom_imports = dict(
    imports=['mmfusion', 'projects.example_project.gate_net', 'projects.example_project.contrast_loss'],
    allow_failed_imports=False,
)

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='GateNet', channels=16),
    losses=dict(
        contrast=dict(type='ContrastLoss', loss_weight=10.0),
        intensity=dict(type='mmfusion.MaskedIntensityLoss'),
        texture=dict(type='mmfusion.TextureLoss', loss_weight=10.0),
    ),
)

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
