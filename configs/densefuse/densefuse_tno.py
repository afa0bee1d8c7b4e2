"""DenseFuse on TNO by the PyTorch code of its authors: images in 0…255, features' mean, cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.DenseFuse', rule='mean'),
    input_range=(0, 255),
    output=('range', 0, 255),
    test_cfg=dict(output=('clamp',), luminance='pillow', rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
