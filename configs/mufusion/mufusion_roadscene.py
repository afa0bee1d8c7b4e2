"""MUFusion on RoadScene as its authors test colour images: visible Cb and Cr, and no stretching."""

_base_ = './mufusion_tno.py'

roadscene = dict(
    type='mmfusion.RoadSceneDataset',
    data_root='{{$MMFUSION_DATA:data}}/RoadScene',
    ann_file='{{ fileDirname }}/../_base_/datasets/splits/roadscene_val.txt',
)
model = dict(test_cfg=dict(luminance=None, output=('clamp',)))
val_dataloader = dict(dataset=roadscene)
test_dataloader = val_dataloader
