_base_ = '../occo_fmb.py'

losses = _base_.model.losses
losses[3].omega = (0.8, 0.2, 0.5)  # Table 6, ω1:ω2
model = dict(losses=losses)
