"""Res2Fusion's auto-encoder trained on grey images of MS-COCO 2014, as its public code does it; validated on TNO.

``data/COCO/train2014`` holds the images. The weight of SSIM is 1, that of the published numbers; the public code also
trains with 10, 100 and 1000, and makes a new Adam each epoch.
"""

_base_ = ['./res2fusion_tno.py', '../_base_/datasets/coco_single.py']

model = dict(losses=dict(reconstruction=dict(type='mmfusion.Res2FusionLoss', ssim=1.0)))
stages = [dict(train=['network'], phase='reconstruct')]
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=stages))

train_dataloader = dict(batch_size=5)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='ExponentialLR', gamma=0.1, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
