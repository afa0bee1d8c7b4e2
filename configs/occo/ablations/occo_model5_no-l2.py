_base_ = '../occo_fmb.py'

# Table 8, Model-5: ω3 = 0
model = dict(losses=dict(contrastive=dict(omega=(0.5, 0.5, 0.0))))
