"""SegMiF on TNO as its authors test it: guided by the visible image, stretched to the full range, cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SegMiF', num_classes=9, guide='visible'),
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded', stretch=True),
    test_cfg=dict(rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
