"""OCCO trained and tested exactly as the public code does (docs/methods/occo.md, "Where paper and public code differ")."""

_base_ = './occo_fmb.py'

model = dict(
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor', stretch=True),  # training images to their full range
    network=dict(test_norm='image'),  # its test script stays in training mode
    color=dict(type='mmfusion.LuminanceColor', inverse='rounded'),  # 1.403, 0.714, 0.344, 1.773
    test_cfg=dict(rounding='truncate'),
)

# Two patches of each image in turn, uniform until one holds a salient pixel; no flip.
train_pipeline = [
    dict(type='mmfusion.LoadImagePair', value_range=True),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmfusion.ForegroundCrop', crop_size=(256, 256), draw='patch', attempts=20),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmfusion.PatchSampler', repeats=2),
    dataset=dict(pipeline=train_pipeline, filter_cfg=dict(empty_masks=True)),
)
train_cfg = dict(max_epochs=30)  # its README
