"""yolox-nano_msrs.py cut to fit a processor: images at their own size, 8 epochs, no validation.

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
# As without training: day and night apart.
test_evaluator = dict(
    _delete_=True,
    type='mmfusion.MappedCocoMetric',
    class_map=dict(car=[], person=[], bike=[]),
    predicted='mmfusion.MSRSComponentsDataset',
    groups=dict(day='*D', night='*N'),
)
train_cfg = dict(max_epochs=8)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = 8
custom_imports = dict(imports=['mmfusion', 'mmfusion.evaluation.metrics.mapped_coco'], allow_failed_imports=False)
