"""CGNet with its Cityscapes weights on MSRS's test images, without training: for `mmfusion downstream --zero-shot`.

MMFUSION_CGNET names its checkpoint; by default mmsegmentation's own is fetched. Day and night apart, by the last letter of a
name.
"""

_base_ = ['mmseg::_base_/models/cgnet.py', '../_base_/datasets/msrs_seg.py', '../_base_/default_runtime.py']

model = dict(
    _delete_=True,
    type='mmfusion.FusionSegmentor',
    data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'),
    fuser=dict(
        type='mmfusion.ImageFuser',
        network=dict(type='mmfusion.SourceNetwork', source='visible'),
        color=dict(type='mmfusion.RGBColor'),
    ),
    segmentor=_base_.model,
    task_checkpoint='{{$MMFUSION_CGNET:https://download.openmmlab.com/mmsegmentation/v0.5/cgnet/cgnet_680x680_60k_cityscapes/cgnet_680x680_60k_cityscapes_20201101_110253-4c0b2f2d.pth}}',
)
test_evaluator = dict(
    _delete_=True,
    type='mmfusion.MappedIoUMetric',
    class_map=dict(car=['truck', 'bus'], person=['rider'], bike=['motorcycle', 'bicycle']),
    predicted='mmseg.CityscapesDataset',
    groups=dict(day='*D', night='*N'),
    iou_metrics=['mIoU'],
)
test_cfg = dict(type='TestLoop')
