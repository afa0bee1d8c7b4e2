"""MGFusion's unified dataset (section 4.1): 200, 201, 217 and 230 random pairs of RoadScene, LLVIP, MSRS and M3FD.

Validated and tested on 20 other pairs of each. The paper does not publish its lists. RoadScene's is ours; those of the
others lie with the data and are made by tools/dataset_converters/make_split.py: docs/methods/mgfusion.md has the commands.
Of M3FD the detection part is taken, without the 300 pairs of the fusion part, which other papers test on.
"""

_base_ = './patches.py'

train_roadscene = dict(
    type='mmfusion.RoadSceneDataset',
    data_root='{{$MMFUSION_DATA:data}}/RoadScene',
    ann_file='{{ fileDirname }}/splits/unified_roadscene_train.txt',
    pipeline=_base_.train_pipeline,
)
train_llvip = dict(
    type='mmfusion.LLVIPDataset',
    data_root='{{$MMFUSION_DATA:data}}/LLVIP',
    ann_file='unified_train.txt',
    pipeline=_base_.train_pipeline,
)
train_msrs = dict(
    type='mmfusion.MSRSDataset',
    data_root='{{$MMFUSION_DATA:data}}/MSRS',
    ann_file='unified_train.txt',
    pipeline=_base_.train_pipeline,
)
train_m3fd = dict(
    type='mmfusion.M3FDDataset',
    data_root='{{$MMFUSION_DATA:data}}/M3FD',
    ann_file='unified_train.txt',
    pipeline=_base_.train_pipeline,
)
val_roadscene = dict(
    train_roadscene, ann_file='{{ fileDirname }}/splits/unified_roadscene_val.txt', pipeline=_base_.test_pipeline
)
val_llvip = dict(train_llvip, ann_file='unified_val.txt', pipeline=_base_.test_pipeline)
val_msrs = dict(train_msrs, ann_file='unified_val.txt', pipeline=_base_.test_pipeline)
val_m3fd = dict(train_m3fd, ann_file='unified_val.txt', pipeline=_base_.test_pipeline)

# Their classes differ, and are not read.
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[train_roadscene, train_llvip, train_msrs, train_m3fd],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[val_roadscene, val_llvip, val_msrs, val_m3fd],
    )
)
test_dataloader = val_dataloader

# Section 4.3; Qcv is the only one of which less is better. Tables 1 and 2 are by dataset: fusion/LLVIP/Qabf and so on.
val_evaluator = dict(type='mmfusion.FusionMetric', metric=['Qabf', 'Qcv', 'SSIM', 'AG', 'VIF', 'SCD'])
test_evaluator = val_evaluator
