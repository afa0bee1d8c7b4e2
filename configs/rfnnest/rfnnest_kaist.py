"""RFN-Nest's fusion networks on KAIST, the auto-encoder fixed; numbers from the public code.

``data/KAIST/visible`` and ``data/KAIST/lwir`` hold the pairs. ``load_from`` is the auto-encoder that
``configs/nestfuse/nestfuse_coco.py`` trains.
"""

_base_ = ['./rfnnest_tno.py', '../_base_/datasets/train_loader.py']

load_from = 'work_dirs/nestfuse_coco/epoch_2.pth'
model = dict(losses=dict(rfn=dict(type='mmfusion.RFNLoss', detail=700.0, vi=3.0, ir=6.0)))
stages = [dict(train=['network.fusion'])]
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=stages))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmcv.Resize', scale=(256, 256), keep_ratio=False, interpolation='nearest'),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=4,
    drop_last=True,
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/KAIST',
        data_prefix=dict(vi_path='visible', ir_path='lwir'),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
find_unused_parameters = True  # in several processes: the auto-encoder is fixed
