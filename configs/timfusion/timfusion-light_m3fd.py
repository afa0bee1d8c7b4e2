"""TIMFusion's light architecture on M3FD as its authors test it: grey by OpenCV at 8 bits."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.TIMFusion', light=True),
    test_cfg=dict(output=('clamp',), luminance='round'),
)
m3fd = dict(type='mmfusion.M3FDDataset', data_root='{{$MMFUSION_DATA:data}}/M3FD')
val_dataloader = dict(dataset=dict(ann_file='{{ fileDirname }}/../_base_/datasets/splits/m3fd_val.txt', **m3fd))
test_dataloader = dict(dataset=m3fd)  # all 4200 pairs of the detection part
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
