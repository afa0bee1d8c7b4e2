"""UMF-CMGR's fusion on RoadScene as its authors test colour images: Y at 8 bits, the result cut to 8 bits."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

roadscene = dict(type='mmfusion.RoadSceneDataset', data_root='{{$MMFUSION_DATA:data}}/RoadScene')
model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.UMFCMGR'),
    test_cfg=dict(output=('clamp',), luminance='round', rounding='truncate'),
)
split = '{{ fileDirname }}/../_base_/datasets/splits/roadscene_val.txt'
val_dataloader = dict(dataset=dict(ann_file=split, **roadscene))
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
