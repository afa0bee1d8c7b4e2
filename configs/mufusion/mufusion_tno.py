"""MUFusion on TNO as its authors test grey images: windows of 128×128, averaged, and the image stretched to its full range.

Where height or width is 252, 376, … (128 + 124 k), the public code has the last window twice (``blend='mean_border'``).
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.MUFusion'),
    size_divisor=2,  # images smaller than a window; the public code refuses them
    # scipy.misc.imsave stretches grey images; in training the loss compares Tanh's output as it is.
    test_cfg=dict(
        luminance='pillow',
        mode='slide',
        crop_size=(128, 128),
        stride=(124, 124),
        blend='mean_border',
        output=('min_max',),
    ),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
