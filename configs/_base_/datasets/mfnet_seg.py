"""MFNet for segmentation on pairs: labels of 9 classes, unlabelled included; official lists."""

_base_ = './msrs_seg.py'

data_root = '{{$MMFUSION_DATA:data}}/MFNet'

# A pair is one file of four channels.
train_pipeline = [dict(type='mmfusion.LoadMFNetPair'), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type='mmfusion.LoadMFNetPair'), *_base_.test_pipeline[1:]]

mfnet = dict(type='mmfusion.MFNetDataset', data_root=data_root, with_labels=True)
train_dataloader = dict(dataset=dict(split='train', pipeline=train_pipeline, **mfnet))
val_dataloader = dict(dataset=dict(split='val', pipeline=test_pipeline, **mfnet))
test_dataloader = dict(dataset=dict(split='test', pipeline=test_pipeline, **mfnet))
