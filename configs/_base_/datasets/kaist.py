"""KAIST for fusion training as OCCO does it: patches that hold salient objects; a list of frames is given as ann_file."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/KAIST'

train_dataloader = dict(dataset=dict(type='mmfusion.KAISTDataset', data_root=data_root, split='train', with_masks=True))
val_dataloader = dict(dataset=dict(type='mmfusion.KAISTDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
