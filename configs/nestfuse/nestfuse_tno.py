"""NestFuse on TNO as its authors test it: images in 0…255, stretched to the full range, cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.NestFuse', pooling='average'),
    input_range=(0, 255),
    output=('min_max',),
    test_cfg=dict(luminance='round', rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
