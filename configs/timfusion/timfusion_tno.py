"""TIMFusion on TNO as its authors test it: files read in grey, norms of the refinement by each image's own statistics.

Their files of TNO are padded to multiples of 4 beforehand, how is not said; here by reflection.
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.TIMFusion'),
    size_divisor=4,
    test_cfg=dict(output=('clamp',)),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
