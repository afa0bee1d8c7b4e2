"""Metrics of the task libraries with the values of single classes."""

import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from mmfusion.evaluation import PerClassIoUMetric

LABEL = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 255]])
FOUND = torch.tensor([[0, 0, 1, 1, 1, 1, 0, 2]])


def samples(label=LABEL, found=FOUND):
    return [dict(gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=found))]


def iou(**options):
    metric = PerClassIoUMetric(**options)
    metric.dataset_meta = dict(classes=('road', 'car stop', 'lamp'))
    return metric


def test_iou_and_accuracy_by_class():
    metric = iou()
    metric.process({}, samples())
    got = metric.evaluate(1)
    # road: 2 right, 1 of car and none else; car: 2 right, 2 of road, 1 lost; the ignored pixel counts nowhere
    assert got['IoU/road'] == pytest.approx(100 * 2 / 5)
    assert got['IoU/car stop'] == pytest.approx(100 * 2 / 5)
    assert got['Acc/road'] == pytest.approx(50)
    assert got['Acc/car stop'] == pytest.approx(100 * 2 / 3)
    assert math.isnan(got['IoU/lamp'])
    assert got['mIoU'] == pytest.approx(40)
    assert got['aAcc'] == pytest.approx(57.14)


def test_means_are_the_stock_ones_and_those_of_the_classes():
    torch.manual_seed(0)
    batch = [s for _ in range(3) for s in samples(torch.randint(0, 3, (1, 9, 9)), torch.randint(0, 3, (1, 9, 9)))]
    options = dict(iou_metrics=['mIoU', 'mDice', 'mFscore'])
    ours = Evaluator(dict(type='mmfusion.PerClassIoUMetric', **options))
    stock = Evaluator(dict(type='mmseg.IoUMetric', **options))
    results = []
    for evaluator in (ours, stock):
        evaluator.dataset_meta = dict(classes=('road', 'car stop', 'lamp'))
        evaluator.process(batch, {})
        results.append(evaluator.evaluate(3))
    assert {name: results[0][name] for name in results[1]} == results[1]
    for name in ('IoU', 'Acc', 'Dice', 'Fscore', 'Precision', 'Recall'):
        values = [value for key, value in results[0].items() if key.startswith(f'{name}/')]
        assert len(values) == 3
        assert np.mean(values) == pytest.approx(results[0][f'm{name}'], abs=0.006)


def test_nan_to_num():
    metric = iou(nan_to_num=0)
    metric.process({}, samples())
    assert metric.evaluate(1)['IoU/lamp'] == 0


def boxes(found):
    """A person found exactly, a car found with an IoU of .75, no bus; ``found`` of these."""
    gt = [
        dict(bbox=[0, 0, 40, 40], bbox_label=0, ignore_flag=0),
        dict(bbox=[50, 50, 90, 90], bbox_label=1, ignore_flag=0),
    ]
    pred = dict(
        bboxes=torch.tensor([[0.0, 0, 40, 40], [50, 50, 90, 80]])[:found],
        scores=torch.tensor([0.9, 0.8])[:found],
        labels=torch.tensor([0, 1])[:found],
    )
    return [dict(img_id='a', ori_shape=(100, 100), instances=gt, pred_instances=pred)]


def coco(batch, **options):
    from mmfusion.evaluation.metrics.per_class_coco import PerClassCocoMetric

    metric = PerClassCocoMetric(**options)
    metric.dataset_meta = dict(classes=('person', 'car', 'bus'))
    metric.process({}, batch)
    return metric.evaluate(len(batch))


def test_average_precision_by_class():
    got = coco(boxes(2))
    # an IoU of .75 counts at .50, .55, … .75: six of ten thresholds
    assert (got['coco/person_precision'], got['coco/car_precision']) == (1, 0.6)
    assert (got['coco/person_precision_50'], got['coco/car_precision_50']) == (1, 1)
    assert math.isnan(got['coco/bus_precision'])
    assert math.isnan(got['coco/bus_precision_50'])
    assert (got['coco/bbox_mAP'], got['coco/bbox_mAP_50'], got['coco/bbox_mAP_75']) == (0.8, 1, 1)


def test_a_detector_that_finds_nothing_has_an_ap_of_0():
    got = coco(boxes(0))
    assert (got['coco/bbox_mAP'], got['coco/bbox_mAP_50']) == (0, 0)
    assert (got['coco/person_precision'], got['coco/car_precision_50']) == (0, 0)
    assert math.isnan(got['coco/bus_precision'])


@pytest.mark.parametrize(('found', 'mean', 'mean_50'), [(2, 0.6, 1), (0, 0, 0)])
def test_means_over_some_classes(found, mean, mean_50):
    """Of OCCO's Table 4: a class that is detected and does not count."""
    got = coco(boxes(found), mean_over=['car', 'bus'])
    assert (got['coco/bbox_mAP'], got['coco/bbox_mAP_50']) == (mean, mean_50)  # no bus to find
    assert not any(key.startswith('coco/bbox_mAP_7') for key in got)
    assert 'coco/person_precision' in got
    with pytest.raises(ValueError, match='mean_over names lorry; the data have the classes person, car, bus'):
        coco(boxes(found), mean_over=['lorry'])
