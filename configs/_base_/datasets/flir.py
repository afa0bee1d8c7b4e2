"""FLIR-aligned for fusion training as OCCO does it: patches that hold salient objects; official split (4129, 1013 pairs)."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/FLIR_aligned'

train_dataloader = dict(
    dataset=dict(type='mmfusion.FLIRAlignedDataset', data_root=data_root, split='train', with_masks=True)
)
val_dataloader = dict(dataset=dict(type='mmfusion.FLIRAlignedDataset', data_root=data_root, split='validation'))
test_dataloader = val_dataloader
