_base_ = './gffusion_funet_msrs.py'

# Tables 1 and 2 are on M3FD. Tested on the fusion part; a seeded list divides the other pairs of the detection part.
m3fd = dict(type='mmfusion.M3FDDataset', data_root='{{$MMFUSION_DATA:data}}/M3FD')
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='{{ fileDirname }}/../_base_/datasets/splits/m3fd_unseen_train.txt',
        pipeline=_base_.train_pipeline,
        **m3fd,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='{{ fileDirname }}/../_base_/datasets/splits/m3fd_unseen_val.txt',
        pipeline=_base_.test_pipeline,
        **m3fd,
    )
)
test_dataloader = dict(dataset=dict(_delete_=True, split='fusion', pipeline=_base_.test_pipeline, **m3fd))
