"""cgnet_msrs_cpu.py on crops of 160×160, batches of four, with validation: IoU of three classes, fusion metrics."""

_base_ = './cgnet_msrs_cpu.py'

pipeline = [
    dict(t, crop_size=(160, 160)) if t['type'] == 'mmseg.RandomCrop' else t
    for t in _base_.train_dataloader.dataset.pipeline
]
model = dict(segmentor=dict(data_preprocessor=dict(size=(160, 160))))
train_dataloader = dict(batch_size=4, drop_last=True, dataset=dict(pipeline=pipeline))
val_cfg = dict(_delete_=True, type='ValLoop')
val_dataloader = dict(_delete_=True, **_base_.test_dataloader)
val_evaluator = [_base_.test_evaluator, dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD', 'VIF', 'Qabf'])]
del pipeline
