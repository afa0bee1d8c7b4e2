# Small synthetic pairs and a short schedule, which the worked methods share; real data are other bases of configs/_base_.
_base_ = ['../../configs/_base_/datasets/synthetic_seg.py', '../../configs/_base_/default_runtime.py']

custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)
model = dict(type='mmfusion.ImageFuser')
size = (64, 96)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(num=16, size=size))
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(num=4, size=size))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmfusion.FusionMetric', metric=['EN', 'SSIM'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
