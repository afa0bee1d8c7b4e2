_base_ = '../occo_fmb.py'

# Table 8, Model-2: all five layers in contextual space. The paper gives no weights, and the public code has the shallow
# layers in comments, without weights: 1/16, 1/16 and 1/8 are those of its Euclidean loss, whose 1/4 and 1 are the same.
# relu1_2 of a 256×256 patch has 65,536 points: at most 4096 random ones are compared (None: all of them, in chunks that
# are computed again in the backward pass).
layers = dict(relu1_2=1 / 16, relu2_2=1 / 16, relu3_4=1 / 8, relu4_4=1 / 4, relu5_4=1.0)
model = dict(losses=dict(contrastive=dict(layers=layers, max_points=4096)))
