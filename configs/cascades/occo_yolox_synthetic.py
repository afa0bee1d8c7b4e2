"""Does fusion help a detector? A narrow OCCO without contrastive loss in front of a narrow YOLOX, for tools/downstream.py.

Synthetic scenes and random weights: nothing is downloaded. docs/cascades.md has the result.
"""

_base_ = ['mmdet::yolox/yolox_s_8xb8-300e_coco.py', '../_base_/fusers/occo_narrow.py']

size, crop_size = (120, 160), (80, 96)
detector = _base_.model
# Persons here are some 20 pixels high and 6 wide: the levels are one finer than YOLOX has them, strides 4, 8, 16.
detector.backbone.update(widen_factor=0.25, out_indices=(1, 2, 3))
detector.neck.update(in_channels=[32, 64, 128], out_channels=32)
detector.bbox_head.update(num_classes=2, in_channels=32, feat_channels=32, strides=(4, 8, 16))
detector.data_preprocessor.update(batch_augments=None, pad_size_divisor=16)

model = dict(
    _delete_=True,
    type='mmfusion.FusionDetector',
    fuser=_base_.fuser,
    detector=detector,
)

classes = dict(classes=('person', 'car'), palette=[(220, 20, 60), (40, 60, 200)])
scenes = dict(type='mmfusion.SyntheticDataset', seed=0, size=size, task='det', metainfo=classes)
# Each scene is rendered once and kept. Trained on patches with objects: most of a scene is road and walls.
render = dict(
    type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False, cache_dir='work_dirs/synthetic_scenes'
)
train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **scenes,
        num=600,
        pipeline=[
            render,
            dict(type='mmdet.RandomCrop', crop_type='absolute', crop_size=crop_size),
            dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(3, 3)),  # another scene where no object is left
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(type='mmfusion.PackFusionInputs'),
        ],
    ),
)
val_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **scenes,
        num=150,
        start=50000,
        pipeline=[render, dict(type='mmfusion.PackFusionInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmdet.CocoMetric', metric='bbox', classwise=True)
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=35),
    paramwise_cfg=dict(_delete_=True, custom_keys={'fuser': dict(lr_mult=0.2)}),
)
epochs = 12
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, T_max=epochs - 1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(
    checkpoint=dict(interval=4, max_keep_ckpts=2),
    reproducible=dict(type='mmfusion.ReproducibleEpochHook'),
    task_classes=dict(type='mmfusion.TaskClassesHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
custom_hooks = []  # none of YOLOX's own: no change of its losses, no average of its weights
custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)
