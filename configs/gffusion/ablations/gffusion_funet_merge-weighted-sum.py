_base_ = '../gffusion_funet_m3fd.py'

model = dict(network=dict(injection=dict(merge='weighted_sum')))  # Table 2, Weighted-Sum: the default, said once more
