_base_ = '../gffusion_funet_m3fd.py'

model = dict(
    network=dict(injection=dict(merge='group_conv', merge_groups=1))
)  # Table 2, Group-Conv; N = 1: section IV-A.2
