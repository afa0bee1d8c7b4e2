"""SegMiF on MFNet as its authors test it, the guide from the sources; it gives labels, too.

Images are stretched to their full range and cut to 8 bits. The authors' guides are files: with them, ``mask_path`` in
``data_prefix`` and mmfusion.LoadCompanions.
"""

_base_ = ['../_base_/datasets/mfnet_seg.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SegMiF', num_classes=9, guide='saliency'),
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded', stretch=True),
    test_cfg=dict(rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
