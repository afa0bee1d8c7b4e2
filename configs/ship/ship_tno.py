"""SHIP on TNO as its authors test it: the network's luminance, cut to [0, 1]."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SHIP'),
    output=('clamp',),
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded'),  # 1.403, 0.714, 0.344, 1.773
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
