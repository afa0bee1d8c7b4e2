"""A narrow GFFusion on a tiny CLIP and a tiny DINOv2, both with RANDOM weights, on synthetic scenes: it runs, no more."""

_base_ = [
    '../_base_/models/gffusion_joint.py',
    '../_base_/datasets/synthetic_seg.py',
    '../_base_/schedules/gffusion_joint_100e.py',
]

clip = dict(
    embed_dim=32,
    quick_gelu=True,
    vision_cfg=dict(image_size=64, patch_size=16, width=32, layers=4, head_width=16),
)
dinov2 = dict(
    _base_.model.segmentor.backbone.backbone,
    _delete_=True,
    arch=dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96),
    img_size=168,
    layer_scale_init_value=1.0,  # as trained ones are, roughly: with 1e-5 the blocks of a random ViT do nothing
    out_indices=[2],
)
model = dict(
    fuser=dict(
        priors=dict(
            prior=dict(
                _delete_=True, type='mmfusion.CLIPPrior', model=clip, pretrained='random', size=64, layers=(1, 2, 3)
            )
        ),
        network=dict(channels=(8, 12), decoder_channels=(16, 12, 8), injection=dict(prior_channels=32, num_layers=3)),
    ),
    segmentor=dict(
        backbone=dict(weights='random', backbone=dinov2),
        decode_head=dict(in_channels=48, channels=48, num_classes=6),
    ),
    task_checkpoint=None,
)
size = (96, 128)  # no multiple of 14: DINOv2 sees 98×140
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(num=64, size=size))
val_dataloader = dict(num_workers=1, dataset=dict(num=16, size=size))
test_dataloader = dict(num_workers=1, dataset=dict(num=16, size=size))
val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD', 'VIF', 'VIFF']),
]
test_evaluator = val_evaluator

# Algorithm 1 in small: the head's rate falls every 3 epochs, and is that of the fuser, since it starts from nothing.
q, max_epochs = 4, 10
stages, task_weight = _base_.default_hooks.stages, _base_.default_hooks.task_weight
stages.stages[0].end = q
first, second = task_weight.weights['loss_weights.task']
first.end, second.end = q, max_epochs
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'segmentor.decode_head.': dict(lr_mult=1.0)}))
param_scheduler = [dict(_base_.param_scheduler[0], begin=q, end=max_epochs, step_size=3)]
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
default_hooks = dict(
    logger=dict(interval=8),
    checkpoint=dict(max_keep_ckpts=2),
    stages=stages,
    task_weight=task_weight,
    guide=dict(allow_random_guide=True),
)
