"""6000 steps of Adam: a warm-up of 300, then half a cosine to zero; for trainings on a processor, with the runtime."""

_base_ = '../default_runtime.py'

steps, warm_up = 6000, 300
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.04, begin=0, end=warm_up),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warm_up, end=steps),
]
default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(by_epoch=False, interval=1000),
)
log_processor = dict(by_epoch=False, window_size=100)
