_base_ = '../occo_fmb.py'

losses = _base_.model.losses
losses[3].loss_weight = 0.1  # Table 7, ω6
model = dict(losses=losses)
