"""OCCO and DeepLabV3+ trained together on MSRS.

This is ours, not the paper's, which argues against a segmentation loss in the training of a fusion network.
"""

_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
    '../_base_/fusers/occo.py',
    '../_base_/datasets/msrs_seg.py',
    '../_base_/schedules/task_150e.py',
    '../_base_/default_runtime.py',
]

segmentor = _base_.model
segmentor.data_preprocessor.size = (480, 480)
segmentor.decode_head.num_classes = 9
segmentor.auxiliary_head.num_classes = 9

fuser = _base_.fuser
fuser.network.stretch = 'image'  # in training, too: the segmenter is to learn on what it will be tested on

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=fuser,
    segmentor=segmentor,
)
# OCCO's contrastive loss looks at the masks of salient objects.
train_dataloader = dict(
    dataset=dict(
        with_masks=True,
        pipeline=[_base_.train_pipeline[0], dict(type='mmfusion.LoadSaliencyMasks'), *_base_.train_pipeline[1:]],
    )
)
# A tenth of the segmenter's learning rate, by Adam's measure of it, would be OCCO's 1e-4: the fuser has its own.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'fuser.network': dict(lr_mult=0.1)}))
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), task_classes=dict(type='mmfusion.TaskClassesHook')
)
