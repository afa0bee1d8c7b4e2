_base_ = '../mgfusion_msrs.py'

model = dict(network=dict(cii=None))  # section 4.5.1: the encoders' features go straight into CFF
