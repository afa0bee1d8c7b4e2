"""Res2Fusion on TNO as its authors test it: 0…255, clipped, then stretched to the full range."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.Res2Fusion'),
    input_range=(0, 255),
    output=(('range', 0, 255), 'clamp'),
    test_cfg=dict(luminance='pillow', output=('min_max',)),  # scipy.misc.imsave stretches grey images
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
