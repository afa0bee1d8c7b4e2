"""DATFuse on TNO as its authors test it: Tanh's output, cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.DATFuse'),
    output=('clamp',),  # the public code casts as it is, and a value below 0 would become a bright one
    test_cfg=dict(luminance='pillow', rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
