"""GIFNet on LLVIP as its authors' script fuses colour images (``--VIS_IS_RGB``): Y cut to 8 bits, the result rounded."""

_base_ = ['../_base_/datasets/pairs.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.GIFNet'),
    color=dict(
        type='mmfusion.MatrixColor',
        chroma=((-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)),
        inverse=((0, 1.402), (-0.344136, -0.714136), (1.772, 0)),
    ),
    test_cfg=dict(luminance='truncate'),
)
val_dataloader = dict(
    dataset=dict(type='mmfusion.LLVIPDataset', data_root='{{$MMFUSION_DATA:data}}/LLVIP', split='test')
)
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
