_base_ = '../occo_fmb.py'

model = dict(network=dict(fifb=dict(spatial=False)))  # Table 8, w/o SE: no spatial enhancement
