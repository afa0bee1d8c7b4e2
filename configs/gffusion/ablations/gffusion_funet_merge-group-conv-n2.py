_base_ = '../gffusion_funet_m3fd.py'

model = dict(
    network=dict(injection=dict(merge='group_conv', merge_groups=2))
)  # Table 2, Group-Conv; N = 2: section III-B.3
