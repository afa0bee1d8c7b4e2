"""DenseFuse on TNO by the TensorFlow code of its authors, whose fused images are published: features' sum, full range."""

_base_ = './densefuse_tno.py'

model = dict(network=dict(rule='addition'), test_cfg=dict(output=('min_max',), rounding='round'))
