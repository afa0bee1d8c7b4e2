"""Does fusion help a segmenter? A narrow OCCO without contrastive loss in front of a narrow U-Net, for tools/downstream.py.

U-Net, since persons are 10 to 30 pixels tall here: stride 8, as DeepLabV3+ has it, would lose them. docs/cascades.md has
the result.
"""

_base_ = [
    'mmseg::_base_/models/fcn_unet_s5-d16.py',
    '../_base_/fusers/occo_narrow.py',
    '../_base_/datasets/synthetic_seg_600.py',
    '../_base_/schedules/task_150e.py',
    '../_base_/default_runtime.py',
]

norm = dict(type='BN', requires_grad=True)
segmentor = _base_.model
segmentor.data_preprocessor.size = _base_.crop_size
segmentor.backbone.update(
    base_channels=8,
    num_stages=4,
    strides=(1, 1, 1, 1),
    enc_num_convs=(2, 2, 2, 2),
    dec_num_convs=(2, 2, 2),
    downsamples=(True, True, True),
    enc_dilations=(1, 1, 1, 1),
    dec_dilations=(1, 1, 1),
    norm_cfg=norm,
)
segmentor.decode_head.update(
    in_channels=8, in_index=3, channels=8, num_convs=0, dropout_ratio=0, num_classes=6, norm_cfg=norm
)
# Persons and lamps are few of the pixels: background, road, vegetation, car, person, lamp.
segmentor.decode_head.loss_decode.class_weight = [1, 1, 3, 3, 8, 10]
segmentor.auxiliary_head = None
segmentor.test_cfg = dict(mode='whole')

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=_base_.fuser,
    segmentor=segmentor,
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'fuser': dict(lr_mult=0.25)}),
)
epochs = 12
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, T_max=epochs - 1, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=4, max_keep_ckpts=2), task_classes=dict(type='mmfusion.TaskClassesHook'))
