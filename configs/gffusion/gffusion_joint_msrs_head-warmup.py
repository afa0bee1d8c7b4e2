"""GFFusion on MSRS without a trained head: two stages before Algorithm 1 make it.

The fuser learns alone (λ = 0) for some epochs, so that there are images to look at; then the head learns on them, and
the fuser stays as it is.
"""

_base_ = './gffusion_joint_msrs.py'

fusion_epochs, head_epochs = 5, 10
start = fusion_epochs + head_epochs
q, max_epochs = start + _base_.q, start + _base_.max_epochs

stages = [
    dict(train=['fuser'], end=fusion_epochs),
    dict(train=['segmentor.decode_head'], end=start),
    dict(train=['fuser'], end=q),
    dict(train=['fuser', 'segmentor.decode_head']),
]
task_weight = [
    dict(value=0.0, end=fusion_epochs),
    dict(value=1.0, end=start),
    dict(value=_base_.lambda_start, end=q),
    dict(start=_base_.lambda_start, stop=_base_.lambda_end, end=max_epochs, curve='cosine'),
]

model = dict(task_checkpoint=None)
param_scheduler = [dict(_base_.param_scheduler[0], begin=q, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(
    stages=dict(stages=stages),
    task_weight=dict(weights={'loss_weights.task': task_weight}),
)
