"""SDNet on RoadScene; numbers from the public code, which does not name its training pairs."""

_base_ = ['./sdnet_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    losses=dict(
        squeeze=dict(type='mmfusion.SDNetLoss', intensity=(0.5, 1.0), gradient=80.0, decomposition=1.0),
    )
)

train_pipeline = _base_.train_pipeline
train_pipeline[1].crop_size = (120, 120)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
# 15 epochs of patches every 10 pixels: about 756 of an image of RoadScene.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=15 * 756, val_interval=756)
default_hooks = dict(checkpoint=dict(interval=756))
