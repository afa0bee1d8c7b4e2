"""M3FD for segmentation, on label maps of 7 classes made from its boxes; a seeded list divides the detection part.

tools/dataset_converters/boxes_to_masks.py makes the label maps. Tested on the 300 pairs of the fusion part, which
the list leaves out: by metrics of fusion alone, since it is distributed without boxes.
"""

_base_ = './msrs_seg.py'

m3fd = dict(type='mmfusion.M3FDSegDataset', data_root='{{$MMFUSION_DATA:data}}/M3FD')
test_pipeline = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='{{ fileDirname }}/splits/m3fd_unseen_train.txt',
        with_labels=True,
        pipeline=_base_.train_pipeline,
        **m3fd,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='{{ fileDirname }}/splits/m3fd_unseen_val.txt',
        with_labels=True,
        pipeline=_base_.test_pipeline,
        **m3fd,
    )
)
test_dataloader = dict(dataset=dict(_delete_=True, split='fusion', pipeline=test_pipeline, **m3fd))
test_evaluator = dict(_base_.test_evaluator[1], _delete_=True)
