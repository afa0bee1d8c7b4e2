"""A narrow OCCO without contrastive loss and a narrow DeepLabV3+ trained together on synthetic scenes, from random weights.

It shows that and how a cascade runs, in minutes and without downloads.
"""

_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
    '../_base_/fusers/occo_narrow.py',
    '../_base_/datasets/synthetic_seg.py',
    '../_base_/schedules/task_150e.py',
    '../_base_/default_runtime.py',
]

segmentor = _base_.model
segmentor.pretrained = None
segmentor.data_preprocessor.size = _base_.size
segmentor.backbone.update(depth=18, base_channels=16, stem_channels=16)
segmentor.decode_head.update(in_channels=128, channels=32, c1_in_channels=16, c1_channels=8, num_classes=6)
segmentor.auxiliary_head.update(in_channels=64, channels=16, num_classes=6)

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=_base_.fuser,
    segmentor=segmentor,
)

optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=10, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=10, val_interval=5)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1), task_classes=dict(type='mmfusion.TaskClassesHook'))
