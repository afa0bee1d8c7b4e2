_base_ = [
    '../_base_/models/gffusion_funet.py',
    '../_base_/datasets/patches.py',
    '../_base_/schedules/gffusion_funet_100e.py',
    '../_base_/default_runtime.py',
]

# Fusion without a segmenter ("parallel", λ = 0). The size of the batch and of the patches is not given.
msrs = dict(type='mmfusion.MSRSDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS')
train_dataloader = dict(batch_size=8, dataset=dict(split='train', **msrs))
val_dataloader = dict(dataset=dict(split='test', **msrs))
test_dataloader = val_dataloader
val_evaluator = dict(metric=['EN', 'SCD', 'VIF', 'VIFF'])  # section IV-A.3; its VIF cites Han: VIFF
test_evaluator = val_evaluator
