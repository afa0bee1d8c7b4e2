"""DIDFuse on TNO as its authors' test does it: grey files, features added."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.DIDFuse'), test_cfg=dict(luminance='round'))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
