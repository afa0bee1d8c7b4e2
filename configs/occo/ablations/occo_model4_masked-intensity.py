_base_ = '../occo_fmb.py'

# Table 8, Model-4: eq. 21 replaces the contrastive and the intensity loss. The paper gives no weight; 10 is that of both.
region = dict(type='mmfusion.MaskedRegionLoss', omega=(0.5, 0.5), loss_weight=10.0)
model = dict(losses=dict(intensity=None, contrastive=None, region=region))
