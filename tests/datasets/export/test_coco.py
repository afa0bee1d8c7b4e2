"""Boxes as COCO JSON, and mmdet's CocoMetric on our datasets with and without such a file."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from mmfusion.datasets import FusionDataset, LLVIPDataset, M3FDDataset, MSRSDetectionDataset, SyntheticDataset, to_coco
from mmfusion.datasets.export.coco import image_size
from mmfusion.registry import METRICS
from mmfusion.utils import write_image

LOAD = dict(type='mmfusion.LoadImagePair')
BOXES = dict(type='mmdet.LoadAnnotations', with_bbox=True)
PACK = dict(type='mmfusion.PackFusionInputs')
RENDER = [dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False)]
RESIZE = dict(type='mmdet.Resize', scale=(64, 64), keep_ratio=False)


def write_pair(root, vi, ir, name, size=(60, 80)):
    """A grey pair of files."""
    for folder in (vi, ir):
        write_image(root / folder / f'{name}.png', np.full(size, 90, np.uint8))


def voc(*objects):
    """Text of an annotation: (name, x1, y1, x2, y2, difficult)."""
    items = ''.join(
        f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>'
        f'<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>'
        for name, *box, difficult in objects
    )
    return f'<annotation>{items}</annotation>'


@pytest.fixture
def m3fd(tmp_path):
    """Three pairs with VOC boxes: two objects and one that is difficult, none, one."""
    root = tmp_path / 'M3FD'
    (root / 'M3FD_Detection/Annotation').mkdir(parents=True)
    texts = dict(
        a=voc(('Car', 10, 20, 40.5, 50, 0), ('People', 5, 5, 15, 30, 0), ('Bus', 50, 10, 70, 40, 1)),
        b=voc(),
        c=voc(('People', 30, 10, 60, 55, 0)),
    )
    for name, text in texts.items():
        write_pair(root, 'M3FD_Detection/Vis', 'M3FD_Detection/Ir', name)
        (root / f'M3FD_Detection/Annotation/{name}.xml').write_text(text)
    return root


@pytest.fixture
def msrs(tmp_path):
    """Two pairs with YOLO boxes."""
    root = tmp_path / 'MSRS'
    (root / 'detection/labels').mkdir(parents=True)
    for name, text in dict(a='2 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.1 0.2\n', b='').items():
        write_pair(root, 'detection/vi', 'detection/ir', name)
        (root / f'detection/labels/{name}.txt').write_text(text)
    return root


@pytest.fixture
def llvip(tmp_path):
    """One pair."""
    root = tmp_path / 'LLVIP'
    (root / 'Annotations').mkdir(parents=True)
    write_pair(root, 'visible/train', 'infrared/train', '010001')
    (root / 'Annotations/010001.xml').write_text(voc(('person', 1, 2, 31, 52, 0)))
    return root


def test_ids_boxes_and_flags(m3fd):
    coco = to_coco(M3FDDataset(data_root=str(m3fd), with_boxes=True))
    assert coco['images'] == [
        dict(id=k, file_name=f'{name}.png', width=80, height=60) for k, name in enumerate('abc', 1)
    ]
    names = ('People', 'Car', 'Bus', 'Lamp', 'Motorcycle', 'Truck')
    assert coco['categories'] == [dict(id=k, name=name) for k, name in enumerate(names, 1)]
    keys = ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')
    assert [tuple(a[k] for k in keys) for a in coco['annotations']] == [
        (1, 1, 2, [10, 20, 30.5, 30], 915, 0),
        (2, 1, 1, [5, 5, 10, 25], 250, 0),
        (3, 1, 3, [50, 10, 20, 30], 600, 1),
        (4, 3, 1, [30, 10, 30, 45], 1350, 0),
    ]
    # A choice among the classes counts anew.
    coco = to_coco(M3FDDataset(data_root=str(m3fd), with_boxes=True, metainfo=dict(classes=('Bus', 'People'))))
    assert [a['category_id'] for a in coco['annotations']] == [2, 1, 2]
    assert len(coco['images']) == 3


def test_the_other_datasets(msrs, llvip):
    boxes = to_coco(MSRSDetectionDataset(data_root=str(msrs)))['annotations']
    assert [b['category_id'] for b in boxes] == [3, 1]
    np.testing.assert_allclose([b['bbox'] for b in boxes], [[30, 15, 20, 30], [16, 9, 8, 12]])
    coco = to_coco(LLVIPDataset(data_root=str(llvip), with_boxes=True), lambda info: f'x/{info["img_id"]}')
    assert [b['bbox'] for b in coco['annotations']] == [[1, 2, 30, 50]]
    assert coco['images'][0]['file_name'] == 'x/010001'
    json.dumps(to_coco(SyntheticDataset(num=2, size=(96, 128), task='det')))


def test_size_is_that_of_the_image_as_it_is_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (30, 20)).save(tmp_path / 'a.jpg', exif=exif)
    assert image_size(dict(img_path=str(tmp_path / 'a.jpg'))) == (30, 20)
    Image.new('RGB', (30, 20)).save(tmp_path / 'b.jpg')
    assert image_size(dict(img_path=str(tmp_path / 'b.jpg'))) == (20, 30)


def test_refusals(m3fd):
    with pytest.raises(ValueError, match=r'M3FDDataset: its samples have no boxes .*with_boxes=True'):
        to_coco(M3FDDataset(data_root=str(m3fd)))
    with pytest.raises(ValueError, match=r"boxes are of person, car, its classes are background, .*task='det'"):
        to_coco(SyntheticDataset(num=1, size=(64, 64)))


def predictions(sample, rng=None):
    """The boxes of a sample as predictions, at the size of the file; with ``rng`` moved, doubled and scored at random."""
    boxes = torch.tensor([i['bbox'] for i in sample.metainfo['instances'] if not i['ignore_flag']]).reshape(-1, 4)
    labels = torch.tensor([i['bbox_label'] for i in sample.metainfo['instances'] if not i['ignore_flag']]).long()
    scores = torch.ones(len(boxes))
    if rng is not None:
        boxes = torch.cat([boxes + torch.from_numpy(rng.uniform(-4, 4, boxes.shape)) for _ in range(3)])
        labels, scores = labels.repeat(3), torch.from_numpy(rng.uniform(0, 1, len(boxes)))
    return InstanceData(bboxes=boxes.float(), labels=labels, scores=scores)


def evaluate(dataset, rng=None, by_number=False, **kwargs):
    """mmdet's stock metric over a dataset, as an Evaluator feeds it."""
    metric = METRICS.build(dict(type='mmdet.CocoMetric', metric='bbox', **kwargs))
    metric.dataset_meta = dataset.metainfo
    for number, data in enumerate(dataset, 1):
        sample = data['data_samples']
        sample.pred_instances = predictions(sample, rng)
        if by_number:
            sample.set_metainfo(dict(img_id=number))
        metric.process({}, [sample.to_dict()])
    return metric.evaluate(len(dataset))


@pytest.fixture(params=['m3fd', 'msrs', 'synthetic'])
def packed(request):
    """Datasets with boxes, packed after a resize, which predictions are scored without."""
    if request.param == 'synthetic':
        return SyntheticDataset(num=4, size=(120, 160), task='det', pipeline=[*RENDER, RESIZE, PACK])
    cls = dict(m3fd=M3FDDataset, msrs=MSRSDetectionDataset)[request.param]
    root = str(request.getfixturevalue(request.param))
    return cls(data_root=root, with_boxes=True, pipeline=[LOAD, BOXES, RESIZE, PACK])


def test_map_needs_no_file_and_equals_that_of_the_file(packed, tmp_path):
    sample = packed[0]['data_samples']
    assert sample.metainfo['img_shape'] == (64, 64)
    assert sample.metainfo['instances'], 'nothing to detect'
    assert evaluate(packed)['coco/bbox_mAP'] == 1
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps(to_coco(packed)))
    without = evaluate(packed, np.random.default_rng(0))
    with_file = evaluate(packed, np.random.default_rng(0), by_number=True, ann_file=str(file))
    assert 0 < without['coco/bbox_mAP'] < 1
    assert without == with_file


def test_after_fuse_images_mmdets_own_packer_hands_the_boxes_on(m3fd):
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')
    fuse = dict(type='mmfusion.FuseImages', source='average')
    pipeline = [LOAD, fuse, BOXES, RESIZE, dict(type='mmdet.PackDetInputs', meta_keys=keys)]
    assert evaluate(M3FDDataset(data_root=str(m3fd), with_boxes=True, pipeline=pipeline))['coco/bbox_mAP'] == 1


def test_a_pair_without_boxes_stays_without(tmp_path):
    write_pair(tmp_path, 'vi', 'ir', 'a')
    sample = FusionDataset(data_root=str(tmp_path), pipeline=[LOAD, PACK])[0]['data_samples']
    assert 'instances' not in sample.metainfo
