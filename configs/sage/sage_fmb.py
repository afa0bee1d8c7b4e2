"""SAGE on FMB as its authors test it: Y and chroma at 8 bits, the network's luminance with that chroma."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

data_root = '{{$MMFUSION_DATA:data}}/FMB'
model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.SAGE'),
    color=dict(type='mmfusion.SAGEColor'),
    test_cfg=dict(output=('clamp',), luminance='round'),
)
val_dataloader = dict(dataset=dict(type='mmfusion.FMBDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
