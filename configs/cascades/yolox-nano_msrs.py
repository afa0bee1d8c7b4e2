"""YOLOX-nano fine-tuned from its COCO weights on MSRS, on boxes around components of the label maps.

The boxes are no annotations (see MSRSComponentsDataset): numbers rank inputs, and nothing more.
"""

_base_ = './yolox-nano_m3fd.py'

pairs = dict(
    type='mmfusion.MSRSComponentsDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS', with_boxes=False, ann_file=''
)
model = dict(detector=dict(bbox_head=dict(num_classes=3)))
train_dataloader = dict(dataset=dict(split='train', **pairs))
val_dataloader = dict(dataset=dict(split='test', **pairs))
test_dataloader = val_dataloader
