"""Algorithm 1 on MSRS, cut to fit a processor: no CLIP, CGNet in the place of DINOv2, half-size images, crops of 160×160.

The fuser starts from `gffusion_wo-prior.safetensors`, and CGNet from weights for MSRS's classes, which MMFUSION_CGNET names
(docs/methods/gffusion.md). The first half trains the fuser, guided by the frozen segmenter with λ = 0.2; in the second half
the segmenter's head learns, too, and λ rises to 1. About 10 minutes of one core.
"""

_base_ = '../cascades/cgnet_msrs_cpu_160.py'

from mmengine.hub import get_config

hooks = get_config('mmfusion::gffusion/gffusion_joint_msrs.py').default_hooks.to_dict()
q, max_epochs = 6, 12
hooks['stages']['stages'][0]['end'] = q
first, second = hooks['task_weight']['weights']['loss_weights.task']
first['end'], second['end'] = q, max_epochs

model = dict(
    fuser=dict(_delete_=True, **get_config('mmfusion::gffusion/gffusion_wo-prior.py').model.to_dict()),
    fuser_checkpoint='{{ fileDirname }}/gffusion_wo-prior.safetensors',
)
train_cfg = dict(max_epochs=max_epochs, val_interval=q)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3),
    paramwise_cfg=dict(custom_keys={'segmentor.decode_head.': dict(lr_mult=0.1), 'fuser.network': dict(lr_mult=1.0)}),
)
param_scheduler = []
default_hooks = {name: hooks[name] for name in ('stages', 'task_weight', 'guide')}
find_unused_parameters = True
del hooks, first, second
