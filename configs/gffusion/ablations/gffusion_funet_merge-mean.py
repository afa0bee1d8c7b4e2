_base_ = '../gffusion_funet_m3fd.py'

model = dict(network=dict(injection=dict(merge='mean')))  # Table 2, Mean
