"""600 synthetic scenes to train a segmenter on and 150 to test it, rendered once and kept in work_dirs/synthetic_scenes."""

_base_ = './synthetic_seg.py'

cache_dir = 'work_dirs/synthetic_scenes'
train_pipeline = _base_.train_pipeline
train_pipeline[0].cache_dir = cache_dir
test_pipeline = _base_.test_pipeline
test_pipeline[0].cache_dir = cache_dir
train_dataloader = dict(dataset=dict(num=600, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(num=150, pipeline=test_pipeline))
test_dataloader = val_dataloader
