"""UMF-CMGR's fusion network trained as in the public code, on RoadScene's registered pairs.

Adam 1e-3, batch 8, 200 epochs, from patches of 256×256 that were cut before (how many is not said); here a random one of
each pair.
"""

_base_ = './umfcmgr_roadscene.py'

model = dict(losses=dict(mix=dict(type='mmfusion.UMFCMGRLoss')))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmengine.Pad', size=(256, 256), padding_mode='reflect'),
    dict(type='mmseg.RandomCrop', crop_size=(256, 256)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        ann_file='{{ fileDirname }}/../_base_/datasets/splits/roadscene_train.txt',
        pipeline=train_pipeline,
        **_base_.roadscene,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))
