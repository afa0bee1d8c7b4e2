"""GIFNet on TNO as its authors' script fuses grey images: files read in grey, the result cut to 8 bits."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.GIFNet'),
    test_cfg=dict(luminance='round', rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
