"""A narrow SeAFusion and a narrow BiSeNet in four short rounds on synthetic scenes, from random weights, in minutes."""

_base_ = [
    'mmseg::_base_/models/bisenetv1_r18-d32.py',
    '../_base_/fusers/seafusion.py',
    '../_base_/datasets/synthetic_seg.py',
    '../_base_/default_runtime.py',
]

from mmfusion.engine.alternating import alternating_rounds

segmentor = _base_.model
segmentor.data_preprocessor.size = _base_.size
segmentor.backbone.update(context_channels=(16, 32, 64), spatial_channels=(8, 8, 8, 16), out_channels=32)
segmentor.backbone.backbone_cfg.update(base_channels=8, stem_channels=8)
segmentor.decode_head.update(in_channels=32, channels=32, num_classes=6)
segmentor.auxiliary_head = segmentor.auxiliary_head[:1]
segmentor.auxiliary_head[0].update(in_channels=16, channels=8, num_classes=6)
segmentor.auxiliary_head[0].loss_decode.loss_weight = 0.1

fuser = _base_.fuser
fuser.network.update(channels=(8, 12, 16), decoder_channels=(16, 12, 8))

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=fuser,
    segmentor=segmentor,
)
train_dataloader = dict(dataset=dict(num=160))

loop = alternating_rounds(
    'segmentor', rounds=4, fusion_epochs=2, task_epochs=4, gamma=1.0, decay=0.75, restart=('fuser.network',)
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=loop['max_epochs'], val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3))
param_scheduler = loop['param_scheduler']
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=1), task_classes=dict(type='mmfusion.TaskClassesHook'), **loop['hooks']
)
find_unused_parameters = True
