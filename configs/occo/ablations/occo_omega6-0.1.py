_base_ = '../occo_fmb.py'

# Table 7, ω6
model = dict(losses=dict(contrastive=dict(loss_weight=0.1)))
