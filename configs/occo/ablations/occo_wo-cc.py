_base_ = '../occo_fmb.py'

model = dict(network=dict(fifb=dict(channel=False)))  # Table 8, w/o CC: no cross channel
