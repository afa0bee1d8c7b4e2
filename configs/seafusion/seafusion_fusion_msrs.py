"""SeAFusion's first round on MSRS: its network with the content loss alone, without a segmenter."""

_base_ = [
    '../_base_/models/seafusion.py',
    '../_base_/datasets/pairs.py',
    '../_base_/default_runtime.py',
]

msrs = dict(type='mmfusion.MSRSDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS')
# Whole images: the paper cuts no patches.
train_dataloader = dict(batch_size=16, dataset=dict(split='train', **msrs))
val_dataloader = dict(dataset=dict(split='test', **msrs))
test_dataloader = val_dataloader

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='ExponentialLR', gamma=0.75, by_epoch=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
