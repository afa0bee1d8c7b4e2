_base_ = '../gffusion_joint_m3fd.py'

# Table 2, Group-Conv; N = 2: section III-B.3.
model = dict(fuser=dict(network=dict(injection=dict(merge='group_conv', merge_groups=2))))
