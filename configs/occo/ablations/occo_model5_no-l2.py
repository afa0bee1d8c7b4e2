_base_ = '../occo_fmb.py'

losses = _base_.model.losses
losses[3].omega = (0.5, 0.5, 0.0)  # Table 8, Model-5: ω3 = 0
model = dict(losses=losses)
