"""CUFD on TNO as its authors test it: sources stretched by the network, each fused image to the full range."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.CUFD'), test_cfg=dict(output=('min_max',)))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
