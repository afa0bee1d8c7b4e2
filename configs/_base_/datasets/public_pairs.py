"""Small patches of 381 public pairs: 199 of RoadScene, 150 of MSRS and 32 of LLVIP; tested on TNO.

For trainings on a processor. Which pairs, and why: docs/methods/lite.md.
"""

_base_ = ['./tno.py', './train_loader.py']

patches = [
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(96, 96)),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
load = dict(type='mmfusion.LoadImagePair', cache_gb=0.3)  # less than that each, and half a gigabyte together
pipeline = [load, *patches]
half_size = [load, dict(type='mmcv.Resize', scale=(640, 512)), *patches]
data, splits = '{{$MMFUSION_DATA:data}}', '{{ fileDirname }}/splits'
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
del patches, load, pipeline, half_size, data, splits, roadscene, msrs, llvip
