"""MSRS for fusion training as OCCO does it: patches that hold salient objects; official split, 1083 and 361 pairs."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/MSRS'

train_dataloader = dict(dataset=dict(type='mmfusion.MSRSDataset', data_root=data_root, split='train', with_masks=True))
val_dataloader = dict(dataset=dict(type='mmfusion.MSRSDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
