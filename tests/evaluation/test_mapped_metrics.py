"""Metrics of models whose classes are not those of the dataset."""

import math

import pytest
import torch
from mmengine.structures import InstanceData

from mmfusion.evaluation import MappedIoUMetric
from mmfusion.evaluation.metrics.class_map import class_table

CLASS_MAP = dict(car=['truck'], person=['Rider', 'people'])
MODEL = ('road', 'rider', 'car', 'truck', 'person')
# unlabelled, car, person, cone of the dataset
LABEL = torch.tensor([[0, 1, 1, 2, 3, 255]])
FOUND = torch.tensor([[2, 3, 0, 1, 4, 2]])


def sample(name, label=LABEL, found=FOUND):
    return dict(img_path=f'vi/{name}.png', gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=found))


def test_iou_of_common_classes_and_groups():
    metric = MappedIoUMetric(CLASS_MAP, MODEL, dict(day='*D', night='*N', dusk='*E'))
    metric.dataset_meta = dict(classes=('unlabelled', 'car', 'person', 'cone'))
    metric.process({}, [sample('1D'), sample('2N', found=torch.full_like(FOUND, 2))])
    got = metric.evaluate(2)
    # car: one of two found, and one pixel more, which is unlabelled; person: found, and one pixel more, a cone
    assert got['day/IoU/car'] == pytest.approx(100 / 3)
    assert got['day/IoU/person'] == pytest.approx(50)
    assert got['day/mIoU'] == pytest.approx((100 / 3 + 50) / 2)
    assert got['night/IoU/car'] == pytest.approx(100 * 2 / 5)
    assert got['IoU/car'] == pytest.approx(100 * 3 / 8)
    assert not [name for name in got if 'other' in name or 'dusk' in name]


def test_a_class_that_nobody_has_is_refused():
    assert class_table(CLASS_MAP, MODEL, 'model') == [None, 1, 0, 0, 1]
    with pytest.raises(ValueError, match='class_map: dataset has no class for person; its classes are car, road'):
        class_table(CLASS_MAP, ('car', 'road'), 'dataset')


def test_ap_of_common_classes_and_groups():
    from mmfusion.evaluation.metrics.mapped_coco import MappedCocoMetric

    metric = MappedCocoMetric(class_map=CLASS_MAP, predicted=MODEL, groups=dict(day='*D', night='*N'))
    metric.dataset_meta = dict(classes=('People', 'Truck', 'Lamp', 'Car'))
    boxes = torch.tensor([[0.0, 0, 40, 40], [50, 50, 90, 90], [10, 60, 30, 80]])
    for name, labels in (('1D', [1, 3, 0]), ('2N', [4, 4, 0])):  # rider, truck, road; person, person, road
        found = InstanceData(bboxes=boxes, scores=torch.ones(3), labels=torch.tensor(labels))
        instances = [
            dict(bbox=box, bbox_label=label, ignore_flag=0)
            for box, label in zip(boxes.tolist(), (0, 3, 2), strict=True)
        ]
        sample = dict(img_id=name, ori_shape=(100, 100), pred_instances=found, instances=instances)
        metric.process({}, [sample])
    got = metric.evaluate(2)
    assert got['coco/day/car_precision_50'] == got['coco/day/person_precision_50'] == 1
    assert got['coco/night/car_precision_50'] == 0
    assert got['coco/night/person_precision_50'] == 1
    assert 0 < got['coco/car_precision_50'] < 1
    assert not math.isnan(got['coco/bbox_mAP_50'])
