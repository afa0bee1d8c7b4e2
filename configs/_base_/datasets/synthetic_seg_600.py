"""600 synthetic scenes to train a segmenter on and 150 to test it, rendered once and kept in work_dirs/synthetic_scenes.

Trained on patches that hold a person or a car: most of a scene is road and walls.
"""

_base_ = './synthetic_seg.py'

cache_dir = 'work_dirs/synthetic_scenes'
crop_size = (80, 96)
train_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_bbox=False, cache_dir=cache_dir),
    dict(type='mmfusion.ForegroundCrop', crop_size=crop_size, empty='random'),
    *_base_.train_pipeline[1:],
]
test_pipeline = _base_.test_pipeline
test_pipeline[0].cache_dir = cache_dir
train_dataloader = dict(dataset=dict(num=600, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(num=150, pipeline=test_pipeline))
test_dataloader = val_dataloader
