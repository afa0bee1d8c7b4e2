"""Algorithm 1 on MSRS, cut to fit a processor: no CLIP, CGNet in the place of DINOv2, half-size images, crops of 160×160.

The fuser starts from `gffusion_wo-prior.safetensors`, and CGNet from a head for MSRS's classes (MMFUSION_CGNET, as
map_seg_head.py --whole makes it: docs/methods/gffusion.md). The first half trains the fuser, guided by the frozen segmenter
with λ = 0.2; in the second half the segmenter's head learns, too, and λ rises to 1. About 20 minutes of one core.
"""

_base_ = '../cascades/cgnet_msrs_cpu.py'

from mmengine.hub import get_config

algorithm = get_config('mmfusion::gffusion/gffusion_joint_msrs.py')
fuser = get_config('mmfusion::gffusion/gffusion_wo-prior.py').model.to_dict()
q, max_epochs = 6, 12

train_pipeline = [
    dict(t, crop_size=(160, 160)) if t['type'] == 'mmseg.RandomCrop' else t
    for t in _base_.train_dataloader.dataset.pipeline
]
model = dict(
    fuser=dict(_delete_=True, **fuser),
    segmentor=dict(data_preprocessor=dict(size=(160, 160))),
    fuser_checkpoint='{{ fileDirname }}/gffusion_wo-prior.safetensors',
)
train_dataloader = dict(batch_size=4, drop_last=True, dataset=dict(pipeline=train_pipeline))
val_cfg = dict(_delete_=True, type='ValLoop')
val_dataloader = dict(_delete_=True, **_base_.test_dataloader)
val_evaluator = [_base_.test_evaluator, dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD', 'VIF', 'Qabf'])]
train_cfg = dict(max_epochs=max_epochs, val_interval=q)
stages, task_weight, guide = (algorithm.default_hooks[name].to_dict() for name in ('stages', 'task_weight', 'guide'))
stages['stages'][0]['end'] = q
first, second = task_weight['weights']['loss_weights.task']
first['end'], second['end'] = q, max_epochs
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3),
    paramwise_cfg=dict(custom_keys={'segmentor.decode_head.': dict(lr_mult=0.1), 'fuser.network': dict(lr_mult=1.0)}),
)
param_scheduler = []
default_hooks = dict(stages=stages, task_weight=task_weight, guide=guide)
find_unused_parameters = True
del algorithm, fuser, stages, task_weight, guide, first, second
