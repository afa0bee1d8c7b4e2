_base_ = '../occo_fmb.py'

model = dict(network=dict(channel=False))  # Table 8, w/o CC: no cross channel
