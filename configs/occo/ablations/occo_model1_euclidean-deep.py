_base_ = '../occo_fmb.py'

# Table 8, Model-1: deep features in Euclidean space
model = dict(losses=dict(contrastive=dict(space='euclidean')))
