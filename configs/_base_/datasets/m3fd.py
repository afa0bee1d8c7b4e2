"""M3FD for fusion training as OCCO does it.

There is no official split: a seeded list divides the detection part into 3360 and 840 pairs. Tested on the 300 pairs of
the fusion part, as the papers do.
"""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/M3FD'

train_dataloader = dict(
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root=data_root,
        ann_file='{{ fileDirname }}/splits/m3fd_train.txt',
        with_masks=True,
    )
)
val_dataloader = dict(
    dataset=dict(type='mmfusion.M3FDDataset', data_root=data_root, ann_file='{{ fileDirname }}/splits/m3fd_val.txt')
)
test_dataloader = dict(dataset=dict(type='mmfusion.M3FDDataset', data_root=data_root, split='fusion'))
