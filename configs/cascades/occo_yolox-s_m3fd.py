"""OCCO, without its contrastive loss, and YOLOX-s trained together on M3FD: boxes of 6 classes, a seeded split.

OCCO's Table 5 trains YOLOv5 for 40 epochs from pre-trained weights (section 4.1.1); here YOLOX-s starts from COCO's, all but
its class scores. No release of mmyolo allows this stack's mmcv, so that its numbers cannot be
compared with these. The contrastive loss needs masks, which mosaics do not carry along.
"""

_base_ = ['mmdet::yolox/yolox_s_8xb8-300e_coco.py', '../_base_/fusers/occo.py']

from mmfusion.datasets.transforms import adapt_pipeline

detector = _base_.model
detector.bbox_head.num_classes = 6

fuser = _base_.fuser
fuser.network.stretch = 'image'  # in training, too: the detector is to learn on what it will be tested on
fuser.losses.contrastive = None

model = dict(
    _delete_=True,
    type='mmfusion.FusionDetector',
    fuser=fuser,
    detector=detector,
)

data_root = '{{$MMFUSION_DATA:data}}/M3FD'
splits = '{{ fileDirname }}/../_base_/datasets/splits'
pairs = dict(type='mmfusion.M3FDDataset', data_root=data_root, with_boxes=True)

train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmdet.MultiImageMixDataset',
        dataset=dict(
            **pairs,
            ann_file=f'{splits}/m3fd_train.txt',
            pipeline=adapt_pipeline(_base_.train_dataset.dataset.pipeline, scope='mmdet'),
        ),
        pipeline=adapt_pipeline(_base_.train_pipeline),
    ),
)
val_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**pairs, ann_file=f'{splits}/m3fd_val.txt', pipeline=adapt_pipeline(_base_.test_pipeline)),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmdet.CocoMetric', metric='bbox', classwise=True)
test_evaluator = val_evaluator

# mmdetection's weights of COCO; they are put below detector.
load_from = (
    'https://download.openmmlab.com/mmdetection/v2.0/yolox/yolox_s_8x8_300e_coco/'
    'yolox_s_8x8_300e_coco_20211121_095711-4592a793.pth'
)
lr = 0.01 * 8 / 64  # mmdetection's is for 8 GPUs of 8 images
auto_scale_lr = dict(base_batch_size=8)  # for --auto-scale-lr on several GPUs

train_cfg = dict(max_epochs=40, val_interval=5)
param_scheduler = [
    dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.05 * lr, begin=2, end=35, by_epoch=True, convert_to_iter_based=True),
    dict(type='ConstantLR', by_epoch=True, factor=1, begin=35, end=40),
]
optim_wrapper = dict(optimizer=dict(lr=lr), paramwise_cfg=dict(custom_keys={'fuser.network': dict(lr_mult=0.1)}))
# Mosaic, affine and MixUp stand inside ForEachModality; all three end for the last five epochs.
stock_hooks = {hook.type: hook for hook in _base_.custom_hooks}
stock_hooks['YOLOXModeSwitchHook'].update(num_last_epochs=5, skip_type_keys=('mmfusion.ForEachModality',))
custom_hooks = list(stock_hooks.values())
default_hooks = dict(
    reproducible=dict(type='mmfusion.ReproducibleEpochHook'),
    task_classes=dict(type='mmfusion.TaskClassesHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)
