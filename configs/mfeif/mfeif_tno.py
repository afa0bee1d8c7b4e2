"""MFEIF on TNO as its authors test it: rounded to 8 bits, values beyond them clipped."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser', network=dict(type='mmfusion.MFEIF'), output=('clamp',), test_cfg=dict(luminance='round')
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
