"""MGFusion's schedule (section 4.2): Adam, 100 epochs, from 1e-4 to 1e-3 over the first 20, then back to 1e-4.

The paper does not give the shape of either part: both are linear here, by epoch.
"""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end_factor=1.0, begin=0, end=20, by_epoch=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.1, begin=20, end=100, by_epoch=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
