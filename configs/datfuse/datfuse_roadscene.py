"""DATFuse trained with the public code's settings, on RoadScene.

The public code leaves the folders of its patches open, so that pairs and number of patches are ours: 1000 epochs of a
random patch a pair, 199,000 patches, for its 10 epochs. Patches are of the size its network was written for, 120×120;
batch, learning rate and weights of the loss are its own.
"""

_base_ = ['./datfuse_tno.py', '../_base_/datasets/roadscene_crops.py']

# α = 1, γ = 10, λ = 100.
model = dict(losses=dict(datfuse=dict(type='mmfusion.DATFuseLoss')))

train_pipeline = _base_.train_pipeline
train_pipeline[1].crop_size = (120, 120)
train_dataloader = dict(batch_size=128, drop_last=False, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1000, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=100))
