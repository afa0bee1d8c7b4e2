"""LRRNet trained on KAIST, as its public code does it; validated on TNO.

Folders ``visible`` and ``lwir`` with the frames under the same names: the paper says which data set, and the public
code takes the first 20,000 pairs of two flat folders.
"""

_base_ = ['./lrrnet_tno.py', '../_base_/datasets/train_loader.py']

# Public code: λ2 = 1.5, λ3 = 2000, w_ir = 3, w_vi = 0.5, and a VGG16 from its authors' drive that sees 0…255 without a mean
# taken off: by this scale one of Caffe.
vgg = dict(
    type='mmfusion.VGGPrior',
    arch='vgg16',
    weights='{{$MMFUSION_VGG16_CAFFE:caffe}}',
    mean=(0.0, 0.0, 0.0),
    std=(1 / 255, 1 / 255, 1 / 255),
)
model = dict(losses=dict(detail=dict(type='mmfusion.DetailToSemanticLoss', prior=vgg)))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmcv.Resize', scale=(128, 128), keep_ratio=False),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=8,
    drop_last=True,
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/KAIST',
        data_prefix=dict(vi_path='visible', ir_path='lwir'),
        indices=20000,
        pipeline=train_pipeline,
    ),
)
# Adam with its L2 decay of 0.9, constant rate (public code).
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-5, weight_decay=0.9))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
