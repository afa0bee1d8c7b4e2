"""PSFusion trained on MSRS and its labels; numbers from the public code.

Patches of 256×256, flips and quarter turns, batch 4, 2500 epochs; SGD 1e-3, momentum 0.9, weight decay 5e-4, 1000 steps of
warm-up from 1e-5 (a geometric rise there, a straight one here), then a polynomial of power 0.9. Its files of objects,
boundaries and masks are behind a link: objects and boundaries are made from the labels here, and there is no mask unless
the dataset gives one (``mask_path`` in ``data_prefix`` and mmfusion.LoadCompanions). ImageNet weights of ResNet-34:
``MMFUSION_RESNET34=FILE``, or torchvision's download.
"""

_base_ = './psfusion_msrs.py'

model = dict(
    network=dict(pretrained='{{$MMFUSION_RESNET34:imagenet}}'),
    losses=dict(joint=dict(type='mmfusion.PSFusionLoss')),
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSegLabels'),
    dict(type='mmseg.RandomCrop', crop_size=(256, 256)),
    dict(type='mmseg.RandomFlip', prob=[1 / 3, 1 / 3], direction=['horizontal', 'vertical']),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.75),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type='mmfusion.MSRSDataset',
        data_root=_base_.data_root,
        split='train',
        with_labels=True,
        pipeline=train_pipeline,
    ),
)
optimizer = dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
steps = 2500 * 271
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.01, begin=0, end=1000),
    dict(type='PolyLR', by_epoch=False, power=0.9, eta_min=0.0, begin=1000, end=steps),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2500, val_interval=50)
default_hooks = dict(checkpoint=dict(interval=50))
