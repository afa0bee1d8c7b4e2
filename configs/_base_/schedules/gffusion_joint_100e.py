"""Algorithm 1 with section IV-A.2, read so: 100 epochs in all, q = 50.

Until q the fuser learns, and the segmenter's head guides it; from then on the head learns, too, and λ rises.
"""

_base_ = ['./gffusion_funet_100e.py', '../default_runtime.py']

q, max_epochs = 50, 100
lambda_start, lambda_end = 0.2, 1.0  # the end value is not given: ours

optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=1e-3),
    paramwise_cfg=dict(custom_keys={'segmentor.decode_head.': dict(lr_mult=0.1, group='head')}),  # 1e-4
)
# "0.1 decaying rate every 10 epochs", counted from q, where the head begins to learn. Without `end` a trial run of fewer
# epochs than q (--cfg-options train_cfg.max_epochs=1) would be refused.
param_scheduler = [
    dict(type='mmfusion.GroupStepLR', groups='head', step_size=10, gamma=0.1, begin=q, end=max_epochs, by_epoch=True)
]
train_cfg = dict(max_epochs=max_epochs)

default_hooks = dict(
    task_classes=dict(type='mmfusion.TaskClassesHook'),
    stages=dict(
        type='mmfusion.StagedTrainingHook',
        stages=[dict(train=['fuser'], end=q), dict(train=['fuser', 'segmentor.decode_head'])],
    ),
    task_weight=dict(
        type='mmfusion.LossWeightHook',
        weights={
            'loss_weights.task': [
                dict(value=lambda_start, end=q),
                dict(start=lambda_start, stop=lambda_end, end=max_epochs, curve='cosine'),
            ]
        },
    ),
    guide=dict(type='mmfusion.GuideHook'),
)
find_unused_parameters = True  # in several processes: one stage does not train the head
