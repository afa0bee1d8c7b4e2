_base_ = './_base_.py'
custom_imports = dict(imports=['mmfusion', 'projects.worked_methods.task_head'])

model = dict(
    network=dict(type='TaskHeadNet', num_classes=6),
    losses=dict(intensity=dict(type='mmfusion.MaxIntensityLoss'), seg=dict(type='SegmentationLoss')),
)
val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SSIM']),
]
test_evaluator = val_evaluator
