"""YOLOX-s trained for 40 epochs on the images of a frozen OCCO: OCCO's Table 4 on MSRS, with another detector.

MSRS has boxes for 80 pairs and no split of them: a seeded list keeps 16 for validation. Numbers from so few images say
little, and cannot be compared with the paper's, whose detector and split are others. As in Table 4 the means are over person
and car: bicycles are learnt and not counted (section 4.3.2).
"""

_base_ = './occo-frozen_yolox-s_m3fd.py'

splits = '{{ fileDirname }}/../_base_/datasets/splits'
pairs = dict(type='mmfusion.MSRSDetectionDataset', data_root='{{$MMFUSION_DATA:data}}/MSRS')
model = dict(detector=dict(bbox_head=dict(num_classes=3)))
train_dataloader = dict(dataset=dict(dataset=dict(ann_file=f'{splits}/msrs_detection_train.txt', **pairs)))
val_dataloader = dict(dataset=dict(ann_file=f'{splits}/msrs_detection_val.txt', **pairs))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmfusion.PerClassCocoMetric', mean_over=('person', 'car'))
test_evaluator = val_evaluator
custom_imports = dict(imports=['mmfusion', 'mmfusion.evaluation.metrics.per_class_coco'], allow_failed_imports=False)
