_base_ = './occo_model1_euclidean-deep.py'

# Table 8, Model-3: all five layers of the public code's ContrastiveLoss_L2, with its weights
layers = dict(relu1_1=1 / 16, relu2_1=1 / 16, relu3_1=1 / 8, relu4_1=1 / 4, relu5_1=1.0)
model = dict(losses=dict(contrastive=dict(layers=layers)))
