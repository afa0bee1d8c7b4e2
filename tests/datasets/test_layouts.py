"""Datasets with boxes in the forms that people have them: LLVIP, FLIR-aligned, KAIST, DroneVehicle; class maps."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfusion.datasets import DroneVehicleDataset, FLIRAlignedDataset, KAISTDataset, LLVIPDataset, M3FDDataset, to_coco
from mmfusion.utils import read_visible, write_image

SIZE = (32, 40)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def voc(*objects):
    """An annotation of (name, box or polygon or x, y, w, h as XML)."""
    items = ''.join(f'<object><name>{name}</name>{box}</object>' for name, box in objects)
    return f'<annotation><size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>{items}</annotation>'


def bndbox(*values, keys=SIDES):
    return '<bndbox>' + ''.join(f'<{k}>{v}</{k}>' for k, v in zip(keys, values, strict=True)) + '</bndbox>'


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def boxes(dataset, index=0):
    classes = dataset.metainfo['classes']
    found = dataset.get_data_info(index)['instances']
    return [(classes[item['bbox_label']], item['bbox'], item['ignore_flag']) for item in found]


@pytest.fixture
def llvip(tmp_path):
    for name in ('a', 'b'):
        for kind in ('visible', 'infrared'):
            write_image(tmp_path / kind / 'train' / f'{name}.jpg', IMAGE)
    write(tmp_path / 'labels' / 'train' / 'a.txt', '0.0 0.5 0.5 0.5 0.5\n')
    write(tmp_path / 'labels' / 'train' / 'classes.txt', 'person\n')
    return dict(data_root=str(tmp_path), with_boxes=True, data_prefix=dict(ann_path='labels/train'))


def test_llvip_with_yolo_labels(llvip):
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images have no file there .*b\.txt\. .*missing_boxes='empty'"):
        LLVIPDataset(**llvip)
    dataset = LLVIPDataset(missing_boxes='empty', **llvip)
    assert boxes(dataset) == [('person', [10, 8, 30, 24], 0)]
    assert boxes(dataset, 1) == []
    assert len(to_coco(dataset)['annotations']) == 1


def test_coco_annotations_as_they_are(llvip, tmp_path):
    coco = dict(
        images=[dict(id=7, file_name='train/a.jpg', width=40, height=32), dict(id=9, file_name='b.jpg')],
        categories=[dict(id=3, name='person')],
        annotations=[
            dict(id=1, image_id=7, category_id=3, bbox=[1, 2, 10, 20]),
            dict(id=2, image_id=9, category_id=3, bbox=[0, 0, 4, 4], iscrowd=1),
            dict(id=3, image_id=9, category_id=3, bbox=[0, 0, 0, 4]),
        ],
    )
    write(tmp_path / 'labels.json', json.dumps(coco))
    dataset = LLVIPDataset(**dict(llvip, data_prefix=dict(ann_path='labels.json')))
    assert [boxes(dataset, k) for k in range(2)] == [[('person', [1, 2, 11, 22], 0)], [('person', [0, 0, 4, 4], 1)]]


def test_class_maps(llvip):
    options = dict(llvip, missing_boxes='empty', class_map=dict(person='pedestrian'))
    for metainfo in (None, dict(classes='pedestrian'), dict(classes=('car', 'pedestrian')[1:])):
        dataset = LLVIPDataset(metainfo=metainfo, **options)
        assert dataset.metainfo['classes'] == ('pedestrian',)
        assert boxes(dataset)[0][0] == 'pedestrian'
    with pytest.raises(
        ValueError, match=r'the classes pedestrian, which LLVIPDataset has not; .*class_map=dict\(person='
    ):
        LLVIPDataset(metainfo=dict(classes='pedestrian'), **dict(options, class_map=None))
    with pytest.raises(ValueError, match='class_map names persons, which LLVIPDataset has not; it has person'):
        LLVIPDataset(**dict(options, class_map=dict(persons='pedestrian')))


def test_several_classes_become_one(tmp_path):
    for kind in ('Vis', 'Ir'):
        write_image(tmp_path / 'M3FD_Detection' / kind / '0.png', IMAGE)
    objects = [(name, bndbox(1, 2, 3, 4)) for name in ('Car', 'Bus', 'People')]
    write(tmp_path / 'M3FD_Detection' / 'Annotation' / '0.xml', voc(*objects))
    class_map = dict(Car='vehicle', Bus='vehicle', Truck='vehicle')
    dataset = M3FDDataset(data_root=str(tmp_path), with_boxes=True, class_map=class_map)
    assert dataset.metainfo['classes'] == ('People', 'vehicle', 'Lamp', 'Motorcycle')
    assert len(dataset.metainfo['palette']) == 4
    assert [name for name, *_ in boxes(dataset)] == ['vehicle', 'vehicle', 'People']


def test_flir_aligned(tmp_path):
    for stem in ('FLIR_1', 'FLIR_2'):
        write_image(tmp_path / f'JPEGImages/{stem}_RGB.jpg', IMAGE)
        write_image(tmp_path / f'JPEGImages/{stem}_PreviewData.jpeg', IMAGE[..., 0])
        write(
            tmp_path / f'Annotations/{stem}_PreviewData.xml',
            voc(('car', bndbox(1, 2, 3, 4)), ('dog', bndbox(1, 2, 3, 4))),
        )
    write_image(tmp_path / 'JPEGImages/FLIR_3_PreviewData.jpeg', IMAGE[..., 0])
    write(tmp_path / 'align_train.txt', 'FLIR_2_PreviewData\n')
    write(tmp_path / 'ImageSets/Main/align_validation.txt', 'FLIR_1_PreviewData\n')
    for split, name in (('train', 'FLIR_2'), ('validation', 'FLIR_1')):
        dataset = FLIRAlignedDataset(data_root=str(tmp_path), split=split, with_boxes=True)
        assert [dataset.get_data_info(k)['img_id'] for k in range(len(dataset))] == [name]
        assert boxes(dataset) == [('car', [1, 2, 3, 4], 0)]
        assert dataset.get_data_info(0)['ir_path'].endswith(f'{name}_PreviewData.jpeg')


def test_kaist(tmp_path):
    for name in ('set00/V000/{}/I00001', 'set06/V001/{}/I00003', 'set06/V001/{}/I00023'):
        for kind in ('visible', 'lwir'):
            write_image(tmp_path / 'images' / f'{name.format(kind)}.jpg', IMAGE)
        keys = dict(keys='xywh')
        objects = voc(('person', bndbox(1, 2, 3, 4, **keys)), ('person?', bndbox(1, 2, 3, 4, **keys)))
        write(tmp_path / 'annotations-xml-new-sanitized' / f'{name.replace("{}/", "")}.xml', objects)
    write(tmp_path / 'imageSets' / 'test-all-20.txt', 'set06/V001/I00023\n')
    train = KAISTDataset(data_root=str(tmp_path), with_boxes=True)
    assert [train.get_data_info(k)['img_id'] for k in range(len(train))] == ['set00/V000/I00001']
    assert boxes(train) == [('person', [1, 2, 4, 6], 0), ('person', [1, 2, 4, 6], 1)]
    assert len(KAISTDataset(data_root=str(tmp_path), split='test')) == 2
    test = KAISTDataset(data_root=str(tmp_path), split='test', ann_file='imageSets/test-all-20.txt')
    assert [test.get_data_info(k)['img_id'] for k in range(len(test))] == ['set06/V001/I00023']


def polygon(*points):
    return (
        '<polygon>' + ''.join(f'<x{k}>{x}</x{k}><y{k}>{y}</y{k}>' for k, (x, y) in enumerate(points, 1)) + '</polygon>'
    )


def test_dronevehicle(tmp_path, capsys):
    """Labels of each modality, misspelt classes, and the copy without border."""
    image = np.full((240, 260, 3), 255, np.uint8)
    image[100:-100, 100:-100] = 60
    corners = polygon((110, 105), (125, 110), (120, 130), (105, 120))
    for kind, names in (('', ('car',)), ('r', ('feright car', 'truvk', '*', 'car'))):
        write_image(tmp_path / 'a' / f'val/valimg{kind}/1.jpg', image)
        outside = ('bus', polygon((0, 0), (9, 0), (9, 9), (0, 9)))
        write(tmp_path / 'a' / f'val/vallabel{kind}/1.xml', voc(*((name, corners) for name in names), outside))
    options = dict(data_root=str(tmp_path / 'a'), split='val', with_boxes=True)
    assert [name for name, *_ in boxes(DroneVehicleDataset(**options))] == ['freight car', 'truck', 'car', 'bus']
    assert boxes(DroneVehicleDataset(boxes_of='vi', **options))[0] == ('car', [105, 105, 125, 130], 0)
    spec = importlib.util.spec_from_file_location(
        'dronevehicle', Path(__file__).parents[2] / 'tools/dataset_converters/dronevehicle.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for text in ('2 images written', '0 images written'):
        assert tool.main([str(tmp_path / 'a'), '--out', str(tmp_path / 'b')]) == 0
        assert text in capsys.readouterr().out
    cropped = DroneVehicleDataset(**dict(options, data_root=str(tmp_path / 'b')))
    assert boxes(cropped) == [(name, [5, 5, 25, 30], 0) for name in ('freight car', 'truck', 'car')]
    assert np.abs(cv2.imread(cropped.get_data_info(0)['ir_path']).astype(int) - 60).max() < 40
    assert read_visible(cropped.get_data_info(0)['img_path']).shape == (40, 60, 3)
