"""SegFormer-B0 trained on the images of a frozen GFFusion (a row of GFFusion's Table 4: segmenters on MFNet).

The paper gives neither the size of the segmenters nor their schedule: mmsegmentation's optimizer, 150 epochs. The fuser's
weights come from MMFUSION_FUSER, a checkpoint of GFFusion, joint or alone; CLIP runs in front of it as its prior.
"""

_base_ = [
    'mmseg::_base_/models/segformer_mit-b0.py',
    '../_base_/fusers/gffusion.py',
    '../_base_/datasets/mfnet_seg.py',
    '../_base_/schedules/task_150e.py',
    '../_base_/default_runtime.py',
]

weights = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth'
segmentor = _base_.model
segmentor.data_preprocessor.size = (480, 480)
segmentor.backbone.init_cfg = dict(type='Pretrained', checkpoint=weights)
segmentor.decode_head.num_classes = 9

fuser = _base_.fuser
fuser.losses = None
model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),  # not the segmenter's, which its base exports
    fuser=fuser,
    segmentor=segmentor,
    frozen=('fuser',),
    fuser_checkpoint='{{$MMFUSION_FUSER:work_dirs/gffusion_joint_mfnet/epoch_100.pth}}',
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            'pos_block': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
            'segmentor.decode_head': dict(lr_mult=10.0),
        }
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='PolyLR', power=1.0, by_epoch=True, begin=2, end=150, convert_to_iter_based=True),
]
default_hooks = dict(
    checkpoint=dict(save_best='mIoU', rule='greater'), task_classes=dict(type='mmfusion.TaskClassesHook')
)
