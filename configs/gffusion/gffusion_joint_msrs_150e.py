"""The other reading of section IV-A.2: 100 epochs of fusion, then 50 with the head: q = 100, 150 in all."""

_base_ = './gffusion_joint_msrs.py'

q, max_epochs = 100, 150

stages, weights = _base_.custom_hooks[-3:-1]
stages.stages[0].end = q
first, second = weights.weights['loss_weights.task']
first.end, second.end = q, max_epochs

param_scheduler = [dict(_base_.param_scheduler[0], begin=q, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
custom_hooks = [*_base_.custom_hooks[:-3], stages, weights, _base_.custom_hooks[-1]]
