"""STDFusionNet on RoadScene with masks of salient objects (docs/masks.md); numbers from the public code."""

_base_ = ['./stdfusionnet_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(losses=dict(objects=dict(type='mmfusion.STDFusionNetLoss', alpha=7.0)))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(with_masks=True, pipeline=train_pipeline))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
# 30 epochs of patches every 24 pixels: about 131 of an image of RoadScene.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30 * 131, val_interval=131)
default_hooks = dict(checkpoint=dict(interval=131))
