"""Synthetic scenes, rendered on the fly, for fusion training as OCCO does it; nothing has to be downloaded."""

_base_ = './occo_patches.py'

train_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_seg=False, with_bbox=False),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False, with_bbox=False),
    *_base_.test_pipeline[1:],
]

train_dataloader = dict(dataset=dict(type='mmfusion.SyntheticDataset', num=1000, seed=0, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(type='mmfusion.SyntheticDataset', num=50, seed=0, start=50000, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
