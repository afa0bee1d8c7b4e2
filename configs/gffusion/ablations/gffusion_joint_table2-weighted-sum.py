_base_ = '../gffusion_joint_m3fd.py'

# Table 2, Weighted-Sum: the method itself.
model = dict(fuser=dict(network=dict(injection=dict(merge='weighted_sum'))))
