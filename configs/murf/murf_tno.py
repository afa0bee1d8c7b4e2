"""MURF's fine registration and fusion on TNO as its authors' test script does it: fused colour divided by its maximum.

The script resizes every image to a square of N×N first, and the fused image back; N is to be set by the size of the images,
and 1240 in it. ``model.test_cfg.resize=None`` keeps their size.
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.MURF'),
    color=dict(type='mmfusion.RGBColor'),
    size_divisor=8,
    test_cfg=dict(resize=(1240, 1240), output=('max',)),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
