"""RoadScene for fusion training as OCCO does it. Split: sorted by name, every 10th is validation (199 and 22 pairs)."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/RoadScene'

train_dataloader = dict(
    dataset=dict(
        type='mmfusion.RoadSceneDataset',
        data_root=data_root,
        ann_file='{{ fileDirname }}/splits/roadscene_train.txt',
        with_masks=True,
    )
)
val_dataloader = dict(
    dataset=dict(
        type='mmfusion.RoadSceneDataset', data_root=data_root, ann_file='{{ fileDirname }}/splits/roadscene_val.txt'
    )
)
test_dataloader = val_dataloader
