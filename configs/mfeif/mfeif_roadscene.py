"""MFEIF trained on RoadScene in the two steps of its paper: features by reconstruction, then the attention by fusion.

The paper's abstract says that features are learned from images of either modality without pairs, and that the attention
is guided by edges. The public code has no training: losses, patch, batch, rate and epochs are ours.
"""

_base_ = ['./mfeif_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    losses=dict(
        reconstruction=dict(type='mmfusion.MFEIFReconstructionLoss'),
        ssim=dict(type='mmfusion.SSIMLoss'),
        texture=dict(type='mmfusion.TextureLoss', loss_weight=10.0),
    )
)
first = dict(train=['network.extractor', 'network.decoder'], phase='reconstruct', losses=['reconstruction'], end=150)
second = dict(train=['network.attention'], losses=['ssim', 'texture'])
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=[first, second]))

train_pipeline = _base_.train_pipeline
train_pipeline.insert(1, dict(type='mmseg.RandomFlip', prob=0.5))
train_dataloader = dict(batch_size=16, drop_last=False, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=50)
find_unused_parameters = True  # in several processes: a stage trains one part
