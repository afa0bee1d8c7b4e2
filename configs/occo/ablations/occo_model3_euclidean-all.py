_base_ = './occo_model2_contextual-all.py'

# Table 8, Model-3: all five layers in Euclidean space
model = dict(losses=dict(contrastive=dict(space='euclidean')))
