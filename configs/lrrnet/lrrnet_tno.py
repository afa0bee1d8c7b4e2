"""LRRNet on TNO as its authors test it: the fused image stretched to its full range and cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.LRRNet'),
    output=(('min_max', 1e-5),),  # the public code's constant in the denominator: no pixel becomes 255
    test_cfg=dict(luminance='round', rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
