"""AUIF on TNO as its authors' test does it: base and detail of both images added."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.AUIF'), test_cfg=dict(luminance='round'))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
