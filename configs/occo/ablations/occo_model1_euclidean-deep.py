_base_ = '../occo_fmb.py'

losses = _base_.model.losses
losses[3].space = 'euclidean'  # Table 8, Model-1: deep features in Euclidean space
model = dict(losses=losses)
