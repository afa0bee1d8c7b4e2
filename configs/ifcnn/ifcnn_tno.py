"""IFCNN-MAX on TNO: images normalised as ImageNet's, as VIFB's published ones were, the fused one cut to 8 bits.

Of a grey visible image comes a grey one. The authors' demo leaves out the normalisation: ifcnn-demo_tno.py.
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.IFCNN', rule='max', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    color=dict(type='mmfusion.RGBColor', keep_grey='truncate'),
    output=('clamp',),
    test_cfg=dict(rounding='truncate'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
