_base_ = '../gffusion_funet_m3fd.py'

# FuNet alone: no CLIP features, and no CLIP is built.
model = dict(priors=None, network=dict(injection=None))
