"""CGNet fine-tuned from its Cityscapes weights on MSRS, for `mmfusion downstream`.

The config's own fuser is SeAFusion: `frozen:FILE`, `joint:FILE`. MMFUSION_CGNET names CGNet's checkpoint; its head of 19
classes does not fit and starts anew, which the log says.
"""

_base_ = [
    'mmseg::_base_/models/cgnet.py',
    '../_base_/fusers/seafusion.py',
    '../_base_/datasets/msrs_seg.py',
    '../_base_/schedules/task_150e.py',
    '../_base_/default_runtime.py',
]

segmentor = _base_.model
segmentor.data_preprocessor.size = (480, 480)
segmentor.decode_head.num_classes = 9
# Weights of Cityscapes' classes say nothing here. Unlabelled is nine tenths of the pixels.
segmentor.decode_head.loss_decode.class_weight = [1.0] + [5.0] * 8
segmentor.init_cfg = dict(
    type='Pretrained',
    checkpoint='{{$MMFUSION_CGNET:https://download.openmmlab.com/mmsegmentation/v0.5/cgnet/cgnet_680x680_60k_cityscapes/cgnet_680x680_60k_cityscapes_20201101_110253-4c0b2f2d.pth}}',
)

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),
    fuser=_base_.fuser,
    segmentor=segmentor,
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3, weight_decay=5e-4),  # mmseg's for CGNet
    paramwise_cfg=dict(custom_keys={'fuser.network': dict(lr_mult=0.1)}),
)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=60, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=60)
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), task_classes=dict(type='mmfusion.TaskClassesHook')
)
