"""SegMiF trained on MFNet in seven rounds, fusion and segmentation in turns; numbers from the public code.

A round of it: 6000 steps of fusion (4000 after the first), then 10,000 of segmentation, batch 2; here epochs of 392 steps.
AdamW, weight decay 0.01. Fusion: 1e-4 / m in round m (within a round it falls by a fifth more there). Segmenter: 8e-5, its
head ten times that, norms without decay; 3000 steps of warm-up, then linearly to zero at 160,000. Each round begins with a
new optimizer there. Random scaling by 0.5 to 2, flips, colour distortion of the visible image, crops of 320 (480 for the
segmenter there, 320 here, too). ImageNet weights of MiT-B3: ``MMFUSION_MIT_B3=FILE``, or mmsegmentation's download.
"""

_base_ = './segmif_mfnet.py'

model = dict(
    network=dict(pretrained='{{$MMFUSION_MIT_B3:imagenet}}'),
    losses=dict(
        start=dict(type='mmfusion.SegMiFLoss', kind='edges'),
        fusion=dict(type='mmfusion.SegMiFLoss', kind='structure'),
        segmentation=dict(type='mmfusion.SegMiFSegmentationLoss'),
    ),
)

train_pipeline = [
    dict(type='mmfusion.LoadMFNetPair'),
    dict(type='mmfusion.LoadSegLabels'),
    dict(
        type='mmseg.RandomResize',
        scale=(640, 480),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
        resize_type='mmseg.Resize',
    ),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.VisibleOnly', transforms=[dict(type='mmseg.PhotoMetricDistortion')]),
    dict(type='mmengine.Pad', size=(320, 320), padding_mode='reflect'),
    dict(type='mmseg.RandomCrop', crop_size=(320, 320)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))

rounds, steps, segmenter_epochs = 7, 392, 26
stages, weights, ends = [], dict(fusion=[], segmentation=[]), []
for m in range(1, rounds + 1):
    turn = (ends[-1] if ends else 0) + (15 if m == 1 else 10)
    ends.append(turn + segmenter_epochs)
    guided = dict(losses=['start'] if m == 1 else ['fusion', 'segmentation'])
    stages.append(dict(train=['network.fusion'], end=turn, **guided))
    stages.append(dict(train=['network.segmenter'], end=ends[-1], losses=['segmentation']))
    weights['fusion'].append(dict(value=0.4 / m, end=ends[-1]))
    weights['segmentation'] += [dict(value=0.8, end=turn), dict(value=1.0, end=ends[-1])]

# Norms of the encoder have no weight decay. Their names are written out: of keys that fit a name the longest counts.
encoder, layers = 'network.segmenter.encoder.', (3, 4, 18, 3)
norms = [
    f'{encoder}layers.{k}.{name}'
    for k, length in enumerate(layers)
    for name in (
        '0.norm.',
        '2.',
        *(f'1.{j}.{norm}.' for j in range(length) for norm in ('norm1', 'norm2', 'attn.norm')),
    )
]
segmenter = dict(lr_mult=0.8, group='segmenter')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            'network.fusion.': dict(group='fusion'),
            'network.segmenter.': dict(segmenter, lr_mult=8.0),
            encoder: segmenter,
            **{name: dict(segmenter, decay_mult=0.0) for name in norms},
        },
    ),
)
warm_up = dict(type='mmfusion.GroupLinearLR', groups='segmenter', by_epoch=False, start_factor=1e-6)
param_scheduler = [
    dict(type='mmfusion.GroupMultiStepLR', groups='fusion', milestones=[end], gamma=m / (m + 1), end=ends[-1])
    for m, end in enumerate(ends[:-1], 1)
] + [
    dict(warm_up, begin=15 * steps, end=15 * steps + 3000),
    # Its 70,000 steps of 160,000.
    dict(type='mmfusion.GroupPolyLR', groups='segmenter', power=1.0, begin=0, end=ends[-1] * 16 // 7),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=ends[-1], val_interval=ends[0])
default_hooks = dict(
    stages=dict(type='mmfusion.StagedTrainingHook', stages=stages),
    loss_weight=dict(
        type='mmfusion.LossWeightHook', weights={f'losses.{name}.loss_weight': value for name, value in weights.items()}
    ),
)
find_unused_parameters = True  # in several processes: a stage trains one part
