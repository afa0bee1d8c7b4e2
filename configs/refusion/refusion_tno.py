"""ReFusion on TNO as its authors test it: each fused image stretched to the full range."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.ReFusion'),
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded'),  # OpenCV's 1.403, 0.714, 0.344, 1.773
    test_cfg=dict(output=('min_max',)),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
