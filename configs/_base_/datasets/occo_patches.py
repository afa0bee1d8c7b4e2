"""Training as OCCO does it: patches that hold salient objects, in batches that split into groups."""

_base_ = './pairs.py'

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmfusion.ForegroundCrop', crop_size=(256, 256)),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
# The batch must split into the groups of OCCO's contrastive loss, so an incomplete last one is dropped.
train_dataloader = dict(batch_size=12, drop_last=True, dataset=dict(pipeline=train_pipeline))
