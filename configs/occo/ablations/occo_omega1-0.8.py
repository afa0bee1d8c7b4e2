_base_ = '../occo_fmb.py'

# Table 6, ω1:ω2
model = dict(losses=dict(contrastive=dict(omega=(0.8, 0.2, 0.5))))
