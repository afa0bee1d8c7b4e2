"""YOLOX-nano with its COCO weights on MSRS's test images, without training; boxes around components of the label maps.

The boxes are no annotations (see MSRSComponentsDataset): numbers rank inputs, and nothing more.
"""

_base_ = './zero-shot_yolox-nano_m3fd.py'

dataset = dict(
    type='mmfusion.MSRSComponentsDataset',
    data_root='{{$MMFUSION_DATA:data}}/MSRS',
    split='test',
    pipeline=_base_.test_dataloader.dataset.pipeline,
    _delete_=True,
)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(groups=dict(day='*D', night='*N'))
del dataset
