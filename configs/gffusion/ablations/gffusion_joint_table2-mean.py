_base_ = '../gffusion_joint_m3fd.py'

# Table 2, Mean.
model = dict(fuser=dict(network=dict(injection=dict(merge='mean'))))
