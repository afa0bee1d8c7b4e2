"""UMF-CMGR's fusion on TNO as its authors test grey images: files read in grey, the result rounded to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.UMFCMGR'),
    test_cfg=dict(output=('clamp',), luminance='round'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
