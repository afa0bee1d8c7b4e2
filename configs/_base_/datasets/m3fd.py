"""M3FD for fusion training as OCCO does it.

Tested on the 300 pairs of the fusion part, as the papers do. They are pairs of the detection part, too: a seeded list
divides its other 3900 into 3120 and 780.
"""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/M3FD'

train_dataloader = dict(
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root=data_root,
        ann_file='{{ fileDirname }}/splits/m3fd_unseen_train.txt',
        with_masks=True,
    )
)
val_dataloader = dict(
    dataset=dict(
        type='mmfusion.M3FDDataset', data_root=data_root, ann_file='{{ fileDirname }}/splits/m3fd_unseen_val.txt'
    )
)
test_dataloader = dict(dataset=dict(type='mmfusion.M3FDDataset', data_root=data_root, split='fusion'))
