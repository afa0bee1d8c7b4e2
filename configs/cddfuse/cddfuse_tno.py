"""CDDFuse on TNO as its authors test it: the fused image stretched to its full range."""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.CDDFuse'),
    test_cfg=dict(luminance='round', output=('min_max',)),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
