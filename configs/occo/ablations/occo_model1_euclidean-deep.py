_base_ = '../occo_fmb.py'

# Table 8, Model-1: deep features in Euclidean space; the public code's ContrastiveLoss_L2, relu4_1 × 1/4 and relu5_1 × 1
model = dict(losses=dict(contrastive=dict(space='euclidean')))
