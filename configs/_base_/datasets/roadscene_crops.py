"""RoadScene's training pairs, one random patch of each an epoch; a config sets the size of the patch, and its test sets.

For methods whose public code cuts patches on a grid first: n patches of an image are n epochs here.
"""

_base_ = './train_loader.py'

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=32,
    drop_last=True,
    dataset=dict(
        type='mmfusion.RoadSceneDataset',
        data_root='{{$MMFUSION_DATA:data}}/RoadScene',
        ann_file='{{ fileDirname }}/splits/roadscene_train.txt',
        pipeline=train_pipeline,
    ),
)
