"""Lite, trained on small patches of 381 pairs of RoadScene, MSRS and LLVIP in about 25 minutes on a CPU; tested on TNO.

What it cuts, for a CPU: patches of 96×96, batches of 8, 6000 steps. Which pairs: docs/methods/lite.md.
"""

_base_ = ['../_base_/datasets/tno.py', '../_base_/datasets/train_loader.py', '../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.Lite'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        # Plain L1 comes out softer than the sources; the gain makes up for it.
        texture=dict(type='mmfusion.TextureLoss', loss_weight=2.0, padding_mode='replicate', gain=1.2),
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=0.3, padding=False),
        difference=dict(type='mmfusion.DifferenceCorrelationLoss', loss_weight=0.2),
    ),
    output=('clamp',),
    test_cfg=dict(output=('min_max',)),
)

patches = [
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(96, 96)),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
pipeline = [dict(type='mmfusion.LoadImagePair'), *patches]
half_size = [dict(type='mmfusion.LoadImagePair'), dict(type='mmcv.Resize', scale=(640, 512)), *patches]
data, splits = '{{$MMFUSION_DATA:data}}', '{{ fileDirname }}/../_base_/datasets/splits'
roadscene = dict(type='mmfusion.RoadSceneDataset', data_root=f'{data}/RoadScene')
msrs = dict(type='mmfusion.MSRSDataset', data_root=f'{data}/MSRS', split='train')
llvip = dict(type='mmfusion.LLVIPDataset', data_root=f'{data}/LLVIP', split='train')

train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(roadscene, ann_file=f'{splits}/roadscene_train.txt', pipeline=pipeline),
            dict(msrs, ann_file=f'{splits}/lite_msrs.txt', pipeline=pipeline),
            dict(llvip, ann_file=f'{splits}/lite_llvip.txt', pipeline=half_size),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(_delete_=True, **roadscene, ann_file=f'{splits}/roadscene_val.txt', pipeline=_base_.test_pipeline)
)

steps, warm_up = 6000, 300
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, start_factor=0.04, begin=0, end=warm_up),
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=steps - warm_up, begin=warm_up, end=steps),
]
default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(by_epoch=False, interval=1000),
)
log_processor = dict(by_epoch=False, window_size=100)
