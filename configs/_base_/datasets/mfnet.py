"""MFNet for fusion training as OCCO does it: patches that hold salient objects; official lists."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/MFNet'

# A pair is one file of four channels.
train_pipeline = [dict(type='mmfusion.LoadMFNetPair'), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type='mmfusion.LoadMFNetPair'), *_base_.test_pipeline[1:]]

train_dataloader = dict(
    dataset=dict(
        type='mmfusion.MFNetDataset', data_root=data_root, split='train', with_masks=True, pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(type='mmfusion.MFNetDataset', data_root=data_root, split='val', pipeline=test_pipeline)
)
test_dataloader = dict(
    dataset=dict(type='mmfusion.MFNetDataset', data_root=data_root, split='test', pipeline=test_pipeline)
)
