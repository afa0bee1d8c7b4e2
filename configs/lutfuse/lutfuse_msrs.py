"""LUT-Fuse on MSRS as its authors test it: colours joined by the network, cut to [0, 1] and to 8 bits."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

data_root = '{{$MMFUSION_DATA:data}}/MSRS'
model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.LUTFuse'),
    color=dict(type='mmfusion.RGBColor'),
    input_range=(0, 255),
    test_cfg=dict(output=('clamp',), rounding='truncate'),
)
val_dataloader = dict(dataset=dict(type='mmfusion.MSRSDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
