"""Single images of MS-COCO 2014, for auto-encoders: 256×256, each whole image squeezed; a config states the batch."""

_base_ = './train_loader.py'

train_pipeline = [
    dict(type='mmcv.LoadImageFromFile'),
    dict(type='mmcv.Resize', scale=(256, 256), keep_ratio=False, interpolation='nearest'),
    dict(type='mmfusion.PackFusionInputs', channels=3),
]
train_dataloader = dict(
    drop_last=True,
    dataset=dict(
        type='mmfusion.ImageDataset',
        data_prefix=dict(img_path='{{$MMFUSION_DATA:data}}/COCO/train2014'),
        pipeline=train_pipeline,
    ),
)
