"""IFCNN-MAX on TNO as its authors' demo does it: images in [0, 1] without normalisation, cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.IFCNN', rule='max'),
    color=dict(type='mmfusion.RGBColor'),
    output=('clamp',),
    test_cfg=dict(rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
