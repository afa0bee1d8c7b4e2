"""CoCoNet on TNO as its authors test it: grey images of 0 to 255, norms by each image's own statistics."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.CoCoNet'),
    input_range=(0, 255),
    output=('range', -1, 1),
    size_divisor=16,
    test_cfg=dict(output=('clamp',), padding='center'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
