"""The schedule of 6000 steps in 3000, for networks of a hundred times Lite's operations."""

_base_ = './cosine_6k.py'

train_cfg = dict(max_iters=3000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = 3000
