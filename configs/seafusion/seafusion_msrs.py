"""SeAFusion on MSRS: four rounds, each of a fuser that a frozen segmenter guides, then of the segmenter on its images.

The paper's segmenter, BANet, is not in mmsegmentation 1.2; this is the library's BiSeNet of ResNet-18 with one auxiliary
head, the family that the public code uses.
"""

_base_ = [
    'mmseg::_base_/models/bisenetv1_r18-d32.py',
    '../_base_/fusers/seafusion.py',
    '../_base_/datasets/msrs_seg.py',
    '../_base_/default_runtime.py',
]

from mmfusion.engine.alternating import alternating_rounds

segmentor = _base_.model
segmentor.data_preprocessor.size = (480, 640)
segmentor.backbone.backbone_cfg.init_cfg = dict(type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')
segmentor.decode_head.num_classes = 9
segmentor.auxiliary_head = segmentor.auxiliary_head[:1]
segmentor.auxiliary_head[0].num_classes = 9
segmentor.auxiliary_head[0].loss_decode.loss_weight = 0.1  # L_semantic = L_main + 0.1 L_aux

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=_base_.fuser,
    segmentor=segmentor,
)

# Whole images, as the fuser sees them in a test: an enlarged or recoloured one would be another fusion task.
train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSegLabels'),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))

# M = 4 rounds. The public code's round: 10 epochs of the fuser, 20000 steps of the segmenter, here 300 epochs of 67 steps.
loop = alternating_rounds(
    'segmentor', rounds=4, fusion_epochs=10, task_epochs=300, gamma=1.0, decay=0.75, restart=('fuser.network',)
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=loop['max_epochs'], val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = loop['param_scheduler']
default_hooks = dict(task_classes=dict(type='mmfusion.TaskClassesHook'), **loop['hooks'])
find_unused_parameters = True
