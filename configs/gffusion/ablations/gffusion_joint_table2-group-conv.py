_base_ = '../gffusion_joint_m3fd.py'

# Table 2, Group-Conv; N = 1: section IV-A.2.
model = dict(fuser=dict(network=dict(injection=dict(merge='group_conv', merge_groups=1))))
