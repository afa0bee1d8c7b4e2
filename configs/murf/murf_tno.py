"""MURF's fine registration and fusion on TNO: fused colour divided by its maximum.

The authors' test script resizes every image to a square first and back afterwards; here images keep their size.
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.MURF'),
    color=dict(type='mmfusion.RGBColor'),
    size_divisor=8,
    test_cfg=dict(output=('max',)),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
