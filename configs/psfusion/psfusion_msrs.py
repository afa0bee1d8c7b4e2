"""PSFusion on MSRS as its authors test it: the result cut to 8 bits; it gives labels, too."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

data_root = '{{$MMFUSION_DATA:data}}/MSRS'
model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.PSFusion', num_classes=9),
    size_divisor=32,
    test_cfg=dict(rounding='truncate'),
)
val_dataloader = dict(dataset=dict(type='mmfusion.MSRSDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
