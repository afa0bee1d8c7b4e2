"""The other reading of section IV-A.2: 100 epochs of fusion, then 50 with the head: q = 100, 150 in all."""

_base_ = './gffusion_joint_msrs.py'

q, max_epochs = 100, 150

stages, task_weight = _base_.default_hooks.stages, _base_.default_hooks.task_weight
stages.stages[0].end = q
first, second = task_weight.weights['loss_weights.task']
first.end, second.end = q, max_epochs

param_scheduler = [dict(_base_.param_scheduler[0], begin=q, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(stages=stages, task_weight=task_weight)
