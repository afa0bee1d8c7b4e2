"""YOLOX-nano with its COCO weights on pairs of M3FD, without training: for `mmfusion downstream --zero-shot`.

MMFUSION_YOLOX names its checkpoint in mmdetection's form; mmdetection publishes none of this size. Inputs are 832 wide: at
the model's own 416 most people of M3FD are smaller than its finest cell.
"""

_base_ = 'mmdet::yolox/yolox_nano_8xb8-300e_coco.py'

from mmfusion.datasets.transforms import adapt_pipeline

model = dict(
    _delete_=True,
    type='mmfusion.FusionDetector',
    fuser=dict(
        type='mmfusion.ImageFuser',
        network=dict(type='mmfusion.SourceNetwork', source='visible'),
        color=dict(type='mmfusion.RGBColor'),
    ),
    detector=_base_.model,
    task_checkpoint='{{$MMFUSION_YOLOX:data/weights/yolox_nano_coco_mmdet.pth}}',
)

data_root = '{{$MMFUSION_DATA:data}}/M3FD'
splits = '{{ fileDirname }}/../_base_/datasets/splits'
pipeline = [dict(t, scale=(832, 832)) if t.type == 'Resize' else t for t in _base_.test_pipeline]
test_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmfusion.M3FDDataset',
        data_root=data_root,
        with_boxes=True,
        ann_file=f'{splits}/m3fd_val.txt',
        pipeline=adapt_pipeline(pipeline),
    ),
)
test_evaluator = dict(
    _delete_=True,
    type='mmfusion.MappedCocoMetric',
    class_map=dict(car=['truck', 'bus'], person=['people'], bike=['motorcycle', 'bicycle']),
    predicted='mmdet.CocoDataset',
)
custom_imports = dict(imports=['mmfusion', 'mmfusion.evaluation.metrics.mapped_coco'], allow_failed_imports=False)
custom_hooks = []
