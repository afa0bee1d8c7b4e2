"""PMGI on RoadScene; numbers from the public code, whose own training data are TNO-like pairs behind a link."""

_base_ = ['./pmgi_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    # What it learns is used in tests, too: batch norm with its own scale, shift and statistics.
    network=dict(variant='paper'),
    losses=dict(proportion=dict(type='mmfusion.PMGILoss', intensity=(0.3, 1.0), gradient=(5.0, 4.0))),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1].crop_size = (120, 120)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
# 15 epochs of patches every 14 pixels: about 358 of an image of RoadScene.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=15 * 358, val_interval=358)
default_hooks = dict(checkpoint=dict(interval=358))
