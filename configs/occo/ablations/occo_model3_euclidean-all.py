_base_ = './occo_model2_contextual-all.py'

losses = _base_.model.losses
losses[3].space = 'euclidean'  # Table 8, Model-3: all five layers in Euclidean space
model = dict(losses=losses)
