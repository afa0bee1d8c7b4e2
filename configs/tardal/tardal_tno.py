"""TarDAL (direct training, DT) on TNO as its authors test it: cut to [0, 1] and rounded."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.TarDAL'), test_cfg=dict(output=('clamp',)))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
