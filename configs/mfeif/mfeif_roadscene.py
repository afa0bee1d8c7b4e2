"""MFEIF trained on RoadScene in the two steps of its paper: features by reconstruction, then the attention by fusion.

The paper's abstract says that features are learned from images of either modality without pairs, and that the attention
is guided by edges. The public code has no training: losses, patch, batch, rate and epochs are ours.
"""

_base_ = ['./mfeif_tno.py', '../_base_/datasets/train_loader.py']

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

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmengine.Pad', size=(128, 128), padding_mode='reflect'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        type='mmfusion.RoadSceneDataset',
        data_root='{{$MMFUSION_DATA:data}}/RoadScene',
        ann_file='{{ fileDirname }}/../_base_/datasets/splits/roadscene_train.txt',
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=50)
find_unused_parameters = True  # in several processes: a stage trains one part
