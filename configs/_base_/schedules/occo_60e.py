"""OCCO's schedule: Adam, 1e-4, constant (section 4.1.2). The public code runs 30 epochs of two patches an image."""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
