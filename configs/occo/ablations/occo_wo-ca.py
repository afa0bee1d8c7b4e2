_base_ = '../occo_fmb.py'

model = dict(network=dict(fifb=dict(attention=False)))  # Table 8, w/o CA: no cross attention
