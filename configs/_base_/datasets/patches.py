"""Training on random patches, without masks: flip, crop, quarter turns.

The papers say "rotation" and no angle. Quarter turns of a square patch leave no corner to be filled. An image smaller than
the patch (some of RoadScene) is extended by reflection.
"""

_base_ = './pairs.py'

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmengine.Pad', size=(256, 256), padding_mode='reflect'),
    dict(type='mmseg.RandomCrop', crop_size=(256, 256)),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
