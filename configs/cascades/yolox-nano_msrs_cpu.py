"""yolox-nano_msrs.py cut to fit a processor: images at their own size, 4 epochs, no validation.

So few epochs want a head that knows the classes, and batch norms that can be trained: MMFUSION_YOLOX as made by
map_seg_head.py --whole and unfold_norms.py (docs/cascades.md).
"""

_base_ = './yolox-nano_msrs.py'

# 640×480 is a multiple of the strides: neither a larger scale nor padding.
train_pipeline = [t for t in _base_.train_pipeline if t['type'] not in ('mmdet.Resize', 'mmdet.Pad')]
test_pipeline = [t for t in _base_.test_pipeline if t['type'] not in ('mmdet.Resize', 'mmdet.Pad')]
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
val_cfg = None
val_dataloader = None
val_evaluator = None
train_cfg = dict(max_epochs=4)
param_scheduler = _base_.param_scheduler
param_scheduler[1].T_max, param_scheduler[1].end = 3, 4
