"""SeAFusion on TNO as its authors test it: each fused image stretched to the full range and cut to 8 bits."""

_base_ = ['../_base_/fusers/seafusion.py', '../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(_base_.fuser, test_cfg=dict(output=('min_max',), rounding='truncate'))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
