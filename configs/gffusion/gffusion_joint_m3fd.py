_base_ = [
    '../_base_/models/gffusion_joint.py',
    '../_base_/datasets/m3fd_seg.py',
    '../_base_/schedules/gffusion_joint_100e.py',
]

# As gffusion_joint_msrs.py, on label maps made from boxes (Fig. 5): background and M3FD's six classes.
model = dict(segmentor=dict(decode_head=dict(num_classes=7)))
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(336, 336), cat_max_ratio=0.95),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD', 'VIF', 'VIFF']),
]
test_evaluator = val_evaluator[1]  # the fusion part comes without labels
