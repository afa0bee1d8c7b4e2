"""SDNet on TNO as its authors test it: images in [-1, 1], each fused image stretched to the full range."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SDNet'),
    input_range=(-1, 1),
    output=('range', -1, 1),
    test_cfg=dict(output=('min_max',), luminance='ycbcr'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
