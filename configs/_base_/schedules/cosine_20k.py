"""The schedule of 6000 steps in 20,000, for networks as small as Lite."""

_base_ = './cosine_6k.py'

train_cfg = dict(max_iters=20000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = 20000
