"""The dataset classes read the layouts that the converter writes, and refuse what does not fit."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine import Config
from PIL import Image

from mmfusion.datasets import (
    FMBDataset,
    FusionDataset,
    LLVIPDataset,
    M3FDDataset,
    MFNetDataset,
    MSRSComponentsDataset,
    MSRSDataset,
    MSRSDetectionDataset,
    OCCODataset,
    RoadSceneDataset,
    TNODataset,
    render_scene,
)
from mmfusion.datasets.synthetic import BOX_CLASSES
from mmfusion.datasets.synthetic.scene import CLASSES
from mmfusion.datasets.transforms.labels import map_labels
from mmfusion.registry import DATASETS, TRANSFORMS
from mmfusion.utils import ImageReadError, write_image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)
LOAD = [dict(type='mmfusion.LoadImagePair')]


def load_tool(name):
    """A script of tools/dataset_converters as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / 'dataset_converters' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert(out, layout, *more, num=3, code=0):
    size = [str(s) for s in SIZE]
    args = [str(out), '--layout', layout, '--num', str(num), '--size', *size, *more]
    assert load_tool('synthetic').main(args) == code
    return out


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Each layout written once: {layout: folder}."""
    root = tmp_path_factory.mktemp('layouts')
    return {layout: convert(root / layout, layout) for layout in ('fmb', 'msrs', 'm3fd', 'roadscene', 'occo')}


@pytest.fixture
def fmb(folders, tmp_path):
    """A copy of the FMB folder, to be damaged."""
    return shutil.copytree(folders['fmb'], tmp_path / 'fmb')


CASES = [
    ('fmb', FMBDataset, dict(split='train', with_masks=True, with_labels=True), 0),
    ('fmb', FMBDataset, dict(split='test', with_masks=True, with_labels=True), 50000),
    ('msrs', MSRSDataset, dict(split='train', with_masks=True, with_labels=True), 0),
    ('msrs', MSRSDataset, dict(split='test', with_labels=True), 50000),
    ('m3fd', M3FDDataset, dict(ann_file='M3FD_Detection/train.txt', with_masks=True, with_boxes=True), 0),
    ('m3fd', M3FDDataset, dict(ann_file='M3FD_Detection/test.txt', with_boxes=True), 50000),
    ('m3fd', M3FDDataset, dict(split='fusion'), 60000),
    ('roadscene', RoadSceneDataset, dict(ann_file='train.txt', with_masks=True), 0),
    ('roadscene', RoadSceneDataset, dict(ann_file='test.txt'), 50000),
    ('occo', OCCODataset, dict(), 0),
]
LABELS = {'fmb': {'road': 'road', 'vegetation': 'vegetation', 'person': 'person', 'car': 'car', 'lamp': 'pole'},
          'msrs': {'car': 'car', 'person': 'person'}}  # fmt: skip


@pytest.mark.parametrize(('layout', 'cls', 'kwargs', 'first'), CASES)
def test_layout_is_read_back(folders, layout, cls, kwargs, first):
    """Names, images, masks, labels and boxes of every scene, bit for bit as the generator renders them."""
    dataset = cls(data_root=str(folders[layout]), pipeline=LOAD, **kwargs)
    assert len(dataset) == (3 if first == 0 else 1)
    for k in range(len(dataset)):
        scene, info = render_scene(0, first + k, SIZE), dataset[k]
        assert info['img_id'] == scene.name
        np.testing.assert_array_equal(info['img'][..., :3], scene.vi)
        np.testing.assert_array_equal(info['img'][..., 3], scene.ir)
        if kwargs.get('with_masks', cls is OCCODataset):
            info = TRANSFORMS.build(dict(type='LoadSaliencyMasks'))(info)
            np.testing.assert_array_equal(info['gt_mask_vi'], scene.mask_vi)
            np.testing.assert_array_equal(info['gt_mask_ir'], scene.mask_ir)
        else:
            assert 'mask_vi_path' not in info
        if kwargs.get('with_labels'):
            check_labels(dataset, info, scene, LABELS[layout])
        if kwargs.get('with_boxes'):
            check_boxes(info, scene)
        else:
            assert 'instances' not in info


def check_labels(dataset, info, scene, names):
    """Both loaders, ours and mmseg's, give for each class of the scene the class of that name in the dataset."""
    classes = dataset.metainfo['classes']
    missing = 255 if dataset.reduce_zero_label else 0
    expected = np.full(SIZE, missing, np.uint8)
    for k, name in enumerate(CLASSES):
        if name in names:
            expected[scene.seg_map == k] = classes.index(names[name])
    for loader in ('mmfusion.LoadSegLabels', 'mmseg.LoadAnnotations'):
        results = TRANSFORMS.build(dict(type=loader))(dict(info, seg_fields=[]))
        np.testing.assert_array_equal(results['gt_seg_map'], expected)
        assert results['seg_fields'] == ['gt_seg_map']


def check_boxes(info, scene):
    """The instances, and what mmdet's own loader makes of them."""
    names = {'person': 'People', 'car': 'Car'}
    labels = [M3FDDataset.METAINFO['classes'].index(names[BOX_CLASSES[k]]) for k in scene.labels]
    results = TRANSFORMS.build(dict(type='mmdet.LoadAnnotations', with_bbox=True))(info)
    np.testing.assert_array_equal(results['gt_bboxes'].tensor.numpy(), scene.bboxes)
    np.testing.assert_array_equal(results['gt_bboxes_labels'], labels)
    assert not results['gt_ignore_flags'].any()


# The converter


def test_converter_continues_and_grows(tmp_path, capsys):
    out = convert(tmp_path / 'a', 'fmb', num=2)
    first, last = sorted((out / 'train' / 'Visible').iterdir())
    content, time = last.read_bytes(), first.stat().st_mtime_ns
    last.unlink()
    (out / 'train' / 'Visible' / '.00001N.png.x.tmp').write_bytes(b'half')
    convert(out, 'fmb', num=2)
    assert '1 of them written now' in capsys.readouterr().out
    assert last.read_bytes() == content
    assert first.stat().st_mtime_ns == time
    assert not list(out.rglob('*.tmp'))
    convert(out, 'fmb', num=4)
    assert len(FMBDataset(data_root=str(out))) == 4
    assert json.loads((out / 'synthetic.json').read_text())['counts'] == dict(train=4, test=1)


@pytest.mark.parametrize(('layout', 'more', 'num', 'message'), [
    ('fmb', ['--seed', '1'], 2, 'Choose another folder'),
    ('msrs', [], 2, 'Choose another folder'),
    ('fmb', [], 1, 'can grow but not shrink'),
])  # fmt: skip
def test_converter_does_not_mix(tmp_path, capsys, layout, more, num, message):
    out = convert(tmp_path / 'a', 'fmb', num=2)
    assert convert(out, layout, *more, num=num, code=1) == out
    assert message in capsys.readouterr().err


def test_converter_spares_real_data(tmp_path, capsys):
    (tmp_path / 'train').mkdir()
    convert(tmp_path, 'fmb', code=1)
    assert 'nothing real is overwritten' in capsys.readouterr().err


@pytest.mark.parametrize('more', [['--num', '0'], ['--num', '1', '--num-test', '-1'], ['--num', '60000']])
def test_converter_refuses_bad_numbers(tmp_path, more):
    with pytest.raises(SystemExit):
        load_tool('synthetic').main([str(tmp_path / 'a'), '--layout', 'fmb', *more])


# Splits


def test_split_rules():
    tool = load_tool('make_split')
    names = [f'{k:02d}' for k in range(25)]
    train, val = tool.split_every(reversed(names), 10)
    assert val == ['09', '19']
    assert sorted(train + val) == names
    train, val = tool.split_random(names, 0.2, 7)
    assert len(val) == 5
    assert sorted(train + val) == names
    assert tool.split_random(list(reversed(names)), 0.2, 7) == (train, val)
    assert tool.split_random(names, 0.2, 8) != (train, val)


SPLITS = ROOT / 'configs' / '_base_' / 'datasets' / 'splits'


@pytest.mark.parametrize(
    ('name', 'options', 'counts'),
    [('m3fd', [], (3360, 840)), ('m3fd_unseen', ['--without', str(SPLITS / 'm3fd_fusion.txt')], (3120, 780))],
)
def test_m3fd_lists_are_those_of_the_tool(tmp_path, name, options, counts):
    command = [name, '--numbers', '4200', '--digits', '5', '--share', '0.2', '--seed', '0', *options]
    load_tool('make_split').main([*command, '--out', str(tmp_path)])
    for part, count in zip(('train', 'val'), counts, strict=True):
        written = (SPLITS / f'{name}_{part}.txt').read_text()
        assert (tmp_path / f'{name}_{part}.txt').read_text() == written
        assert len(written.split()) == count


def test_lists_for_testing():
    """Numbers of pairs as the papers have them; what is tested on M3FD's fusion part is not trained on."""
    names = {part: (SPLITS / f'{part}.txt').read_text().split() for part in ('m3fd_fusion', 'tno_21', 'tno_55')}
    assert [len(set(part)) for part in names.values()] == [300, 21, 55]
    assert set(names['tno_21']) < {f'{k:02d}' for k in range(1, 43)}
    unseen = [name for part in ('train', 'val') for name in (SPLITS / f'm3fd_unseen_{part}.txt').read_text().split()]
    assert sorted([*unseen, *names['m3fd_fusion']]) == [f'{k:05d}' for k in range(4200)]
    configs = ('_base_/datasets/m3fd.py', '_base_/datasets/m3fd_seg.py', 'gffusion/gffusion_funet_m3fd.py')
    for config in configs:
        cfg = Config.fromfile(ROOT / 'configs' / config)
        assert cfg.test_dataloader.dataset.split == 'fusion'
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            listed = Path(loader.dataset.ann_file).read_text().split()
            assert not set(listed) & set(names['m3fd_fusion']), config


@pytest.mark.data
def test_roadscene_lists_are_those_of_the_tool(tmp_path, data_dir):
    images = data_dir / 'RoadScene' / 'cropinfrared'
    load_tool('make_split').main(['roadscene', '--images', str(images), '--every', '10', '--out', str(tmp_path)])
    for part in ('train', 'val'):
        written = (ROOT / 'configs' / '_base_' / 'datasets' / 'splits' / f'roadscene_{part}.txt').read_text()
        assert (tmp_path / f'roadscene_{part}.txt').read_text() == written


# Layouts that the converter does not write


def test_mfnet(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('00001D', '00002N', '00002N_flip'):
        write_image(tmp_path / 'images' / f'{name}.png', rng.integers(0, 256, (20, 30, 4), np.uint8))
        write_image(tmp_path / 'labels' / f'{name}.png', rng.integers(0, 9, (20, 30), np.uint8))
    (tmp_path / 'train.txt').write_text('00001D\n00002N\n00002N_flip\n')
    (tmp_path / 'test_night.txt').write_text('00002N\n')
    pipeline = [dict(type='mmfusion.LoadMFNetPair'), dict(type='mmfusion.LoadSegLabels')]
    dataset = MFNetDataset(data_root=str(tmp_path), with_labels=True, pipeline=pipeline)
    assert [dataset.get_data_info(k)['img_id'] for k in range(len(dataset))] == ['00001D', '00002N']
    assert len(MFNetDataset(data_root=str(tmp_path), keep_flipped=True)) == 3
    assert len(MFNetDataset(data_root=str(tmp_path), split='test_night')) == 1
    results = dataset[0]
    # OpenCV wrote the array as B, G, R, A: so it must come back.
    np.testing.assert_array_equal(results['img'], cv2.imread(str(tmp_path / 'images/00001D.png'), cv2.IMREAD_UNCHANGED))
    rgbt = np.asarray(Image.open(tmp_path / 'images/00001D.png'))
    np.testing.assert_array_equal(results['img'][..., 2], rgbt[..., 0])
    np.testing.assert_array_equal(results['img'][..., 3], rgbt[..., 3])
    assert results['gt_seg_map'].max() < 9


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_pairs_in_four_channels(tmp_path, dtype):
    """Any dataset reads them, and no transform of its own is needed."""
    pair = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), pair.astype(dtype) * (257 if dtype == np.uint16 else 1))
    prefix = dict(rgbt_path='images')
    for dataset in (
        FusionDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=LOAD),
        TNODataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=LOAD),
        MFNetDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=LOAD, ann_file=''),
    ):
        np.testing.assert_array_equal(dataset[0]['img'], pair)
        assert dataset[0]['companions'] == []
    both = dict(vi_path='images', ir_path='images')
    with pytest.raises(ValueError, match=r'images: given as the visible and as the infrared images.*rgbt_path'):
        FusionDataset(data_root=str(tmp_path), data_prefix=both, pipeline=LOAD)
    with pytest.raises(ValueError, match='has vi_path, rgbt_path; expected vi_path and ir_path, or rgbt_path'):
        FusionDataset(data_root=str(tmp_path), data_prefix=dict(prefix, vi_path='images'), pipeline=LOAD)
    (tmp_path / 'names.txt').write_text('b')
    with pytest.raises(ValueError, match=r'names\.txt: 1 of its 1 names have no pair under .*images'):
        FusionDataset(data_root=str(tmp_path), data_prefix=prefix, ann_file='names.txt')


def test_lists_and_indices_count_each_image_once(tmp_path, monkeypatch):
    """A name that stood twice in a list counted twice, and `indices` that leave nothing gave an empty table."""
    for name in 'abc':
        for kind in ('vi', 'ir'):
            write_image(tmp_path / kind / f'{name}.png', np.zeros((8, 8), np.uint8))
    (tmp_path / 'names.txt').write_text('b\na.png\nb\na\nb\nc')
    told = []
    monkeypatch.setattr('mmfusion.datasets.fusion_dataset.log_warning', told.append)
    dataset = FusionDataset(data_root=str(tmp_path), ann_file='names.txt', pipeline=LOAD)
    assert [dataset.get_data_info(k)['img_id'] for k in range(len(dataset))] == ['b', 'a', 'c']
    assert len(told) == 1
    assert 'names.txt: 2 names stand there several times (b, a); each image counts once' in told[0]
    assert len(FusionDataset(data_root=str(tmp_path), indices=[2, 0], pipeline=LOAD)) == 2
    for indices, message in ((0, 'indices=0 leaves no image'), ([], 'leaves no image'), ([3], 'beyond the 3 images')):
        with pytest.raises(ValueError, match=re.escape(message)):
            FusionDataset(data_root=str(tmp_path), indices=indices, pipeline=LOAD)


def test_mfnet_refuses_three_channels(tmp_path):
    write_image(tmp_path / 'a.png', np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ImageReadError, match=r'a\.png: expected four channels'):
        TRANSFORMS.build(dict(type='LoadMFNetPair'))(dict(img_path=str(tmp_path / 'a.png')))


VOC = """<annotation><object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>{xmax}</xmax><ymax>9</ymax></bndbox></object></annotation>"""


def make_pairs(root, vi, ir, names, size=(10, 20)):
    for name in names:
        write_image(root / vi / name, np.zeros((*size, 3), np.uint8))
        write_image(root / ir / name, np.zeros(size, np.uint8))


def test_llvip(tmp_path):
    make_pairs(tmp_path, 'visible/train', 'infrared/train', ['010001.jpg', '010002.jpg'])
    (tmp_path / 'Annotations').mkdir()
    for name, difficult in (('010001', 0), ('010002', 1)):
        text = VOC.format(name='person', difficult=difficult, xmax=8)
        (tmp_path / 'Annotations' / f'{name}.xml').write_text(text)
    dataset = LLVIPDataset(data_root=str(tmp_path), with_boxes=True)
    assert dataset.get_data_info(0)['instances'] == [dict(bbox=[1, 2, 8, 9], bbox_label=0, ignore_flag=0)]
    assert dataset.get_data_info(1)['instances'][0]['ignore_flag'] == 1


def test_msrs_detection(tmp_path):
    make_pairs(tmp_path, 'detection/vi', 'detection/ir', ['7.png'])
    (tmp_path / 'detection' / 'labels').mkdir()
    (tmp_path / 'detection' / 'labels' / '7.txt').write_text('2 0.5 0.5 0.4 0.2\n\n0 0.25 0.5 0.1 1\n')
    instances = MSRSDetectionDataset(data_root=str(tmp_path)).get_data_info(0)['instances']
    np.testing.assert_allclose(instances[0]['bbox'], [6, 4, 14, 6])
    np.testing.assert_allclose(instances[1]['bbox'], [4, 0, 6, 10])
    assert [i['bbox_label'] for i in instances] == [2, 0]


def test_msrs_boxes_around_components(tmp_path):
    """Boxes of what touches, corners too; small ones are ignored; classes of the user's choice."""
    make_pairs(tmp_path, 'test/vi', 'test/ir', ['7.png'])
    labels = np.zeros((10, 20), np.uint8)
    labels[1:3, 2:6] = 1  # car
    labels[3, 6] = 1  # touches by a corner
    labels[8, 18] = 2  # a single pixel of a person
    labels[5:7, 0:3] = 4  # curve
    write_image(tmp_path / 'test' / 'Segmentation_labels' / '7.png', labels)
    options = dict(data_root=str(tmp_path), split='test', least_area=2)
    instances = MSRSComponentsDataset(**options).get_data_info(0)['instances']
    assert instances == [
        dict(bbox=[2, 1, 7, 4], bbox_label=0, ignore_flag=0),
        dict(bbox=[18, 8, 19, 9], bbox_label=1, ignore_flag=1),
    ]
    person = MSRSComponentsDataset(**options, metainfo=dict(classes=('person',))).get_data_info(0)['instances']
    assert [box['bbox_label'] for box in person] == [0]


def test_boxes_in_another_form(tmp_path):
    make_pairs(tmp_path, 'vi', 'ir', ['7.png'])
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / '7.txt').write_text('1 0.5 0.5 0.4 0.2\n')
    prefix = dict(vi_path='vi', ir_path='ir', ann_path='labels')
    options = dict(data_root=str(tmp_path), with_boxes=True, data_prefix=prefix)
    (box,) = M3FDDataset(**options).get_data_info(0)['instances']
    np.testing.assert_allclose(box['bbox'], [6, 4, 14, 6])


def test_own_classes(folders):
    """Classes left out by the user's metainfo are ignored in label maps and boxes; unknown ones are refused."""
    root = str(folders['fmb'])
    dataset = FMBDataset(data_root=root, with_labels=True, metainfo=dict(classes=('car', 'road')))
    info = dataset.get_data_info(0)
    labels = TRANSFORMS.build(dict(type='LoadSegLabels'))(info)['gt_seg_map']
    stock = TRANSFORMS.build(dict(type='mmseg.LoadAnnotations'))(dict(info, seg_fields=[]))['gt_seg_map']
    seg_map = render_scene(0, 0, SIZE).seg_map
    expected = np.select([seg_map == CLASSES.index('car'), seg_map == CLASSES.index('road')], [0, 1], 255)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(stock, expected)
    cars = M3FDDataset(data_root=str(folders['m3fd']), with_boxes=True, metainfo=dict(classes=('Car',)))
    counts = [len(cars.get_data_info(k)['instances']) for k in range(3)]
    assert counts == [int((render_scene(0, k, SIZE).labels == 1).sum()) for k in range(3)]
    with pytest.raises(ValueError, match='classes tram, which FMBDataset has not'):
        FMBDataset(data_root=root, metainfo=dict(classes=('car', 'tram')))


def test_map_labels_by_hand():
    labels = np.array([0, 1, 2, 14, 255], np.uint8)
    assert map_labels(labels).tolist() == [0, 1, 2, 14, 255]
    assert map_labels(labels, reduce_zero_label=True).tolist() == [255, 0, 1, 13, 255]
    assert map_labels(labels, {0: 1, 1: 0}).tolist() == [1, 0, 2, 14, 255]
    assert map_labels(labels, {0: 5, 13: 255}, reduce_zero_label=True).tolist() == [255, 5, 1, 255, 255]


# What does not fit


def test_unpaired_images_are_named(fmb):
    (fmb / 'train' / 'Visible' / '00001N.png').unlink()
    (fmb / 'train' / 'Infrared' / '00002D.png').unlink()
    with pytest.raises(ValueError, match=r'no counterpart in .*Infrared: 00002D.*no counterpart in .*Visible: 00001N'):
        FMBDataset(data_root=str(fmb))
    # Of a list only its names count: folders of fused images may hold no more.
    (fmb / 'names.txt').write_text('00000D\n')
    assert len(FMBDataset(data_root=str(fmb), ann_file='names.txt')) == 1


def test_empty_and_missing_folders(tmp_path, fmb):
    for folder in ('Visible', 'Infrared'):
        (tmp_path / 'train' / folder).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match='no image'):
        FMBDataset(data_root=str(tmp_path))
    (tmp_path / 'images').mkdir()
    with pytest.raises(FileNotFoundError, match='images: no image'):
        MFNetDataset(data_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'RoadScene.*no such folder\. Check data_root, .* MMFUSION_DATA'):
        RoadSceneDataset(data_root=str(tmp_path / 'RoadScene'))
    shutil.rmtree(fmb / 'train' / 'mask_vi')
    assert len(FMBDataset(data_root=str(fmb))) == 3
    with pytest.raises(FileNotFoundError, match='mask_vi: no such folder'):
        FMBDataset(data_root=str(fmb), with_masks=True)


def test_missing_masks_and_labels_are_listed(fmb):
    (fmb / 'train' / 'mask_ir' / 'mask_00001N.png').unlink()
    for name in ('00000D', '00002D'):
        (fmb / 'train' / 'Label' / f'{name}.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'mask_ir: 1 of 3 images .*\(mask_ir_path of FMBDataset\): mask_00001N\.'
    ):
        FMBDataset(data_root=str(fmb), with_masks=True)
    with pytest.raises(
        FileNotFoundError, match=r'Label: 2 of 3 images have no file there .*: 00000D, 00002D\. .*ann_file'
    ):
        FMBDataset(data_root=str(fmb), with_labels=True)
    names = fmb / 'labelled.txt'
    names.write_text('00001N\n')
    assert len(FMBDataset(data_root=str(fmb), with_labels=True, ann_file=str(names))) == 1


def test_missing_boxes_are_listed(folders, tmp_path):
    root = tmp_path / 'm3fd'
    shutil.copytree(folders['m3fd'], root)
    for name in ('00000D', '00001N'):
        (root / 'M3FD_Detection/Annotation' / f'{name}.xml').unlink()
    assert len(M3FDDataset(data_root=str(root))) > 2
    with pytest.raises(FileNotFoundError, match=r'Annotation: 2 of \d+ images .*: 00000D\.xml, 00001N\.xml\. Add them'):
        M3FDDataset(data_root=str(root), with_boxes=True)


def test_lists(folders, tmp_path):
    root = str(folders['roadscene'])
    names = tmp_path / 'names.txt'
    names.write_text('00002D.png\n\n00000D\n')
    dataset = RoadSceneDataset(data_root=root, ann_file=str(names))
    assert [dataset.get_data_info(k)['img_id'] for k in range(2)] == ['00002D', '00000D']
    names.write_text('00000D\nFLIR_1.2\n')
    with pytest.raises(ValueError, match=r'1 of its 2 names have no pair .*: FLIR_1\.2'):
        RoadSceneDataset(data_root=root, ann_file=str(names))
    with pytest.raises(FileNotFoundError, match='no such list'):
        RoadSceneDataset(data_root=root, ann_file='nothing.txt')


def test_label_outside_the_classes(fmb):
    file = fmb / 'train' / 'Label' / '00001N.png'
    seg_map = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    load = TRANSFORMS.build(dict(type='LoadSegLabels'))
    info = FMBDataset(data_root=str(fmb), with_labels=True).get_data_info(1)
    seg_map[3, 4] = 14
    write_image(file, seg_map)
    load(dict(info, seg_fields=[]))  # 14 is the last one, and 255 is ignored
    seg_map[3, 4], seg_map[3, 5] = 255, 15
    write_image(file, seg_map)
    with pytest.raises(
        ValueError, match=r'00001N\.png: label 15 is outside the classes; the dataset has labels 0 to 14'
    ):
        load(dict(info, seg_fields=[]))
    write_image(file, seg_map[:-2])
    with pytest.raises(ValueError, match=r'Label/00001N\.png is 96×62 but its image .* is 96×64'):
        load(dict(info, img=np.zeros((*SIZE, 4), np.uint8)))
    write_image(file, seg_map * 0)
    resized = load(dict(info, img=np.zeros((32, 48, 4), np.uint8), ori_shape=SIZE))
    assert resized['gt_seg_map'].shape == SIZE  # loaded after a resize, to score at full size
    with pytest.raises(KeyError, match='no seg_map_path'):
        load(FMBDataset(data_root=str(fmb)).get_data_info(0))


def test_mask_of_another_size_and_truncated_image(fmb):
    dataset = FMBDataset(data_root=str(fmb), with_masks=True, pipeline=[*LOAD, dict(type='mmfusion.LoadSaliencyMasks')])
    write_image(fmb / 'train' / 'mask_vi' / 'mask_00000D.png', np.zeros((10, 10), np.uint8))
    with pytest.raises(ValueError, match=r'mask_00000D\.png is 10×10 but its image .* is 96×64'):
        dataset[0]
    file = fmb / 'train' / 'Infrared' / '00001N.png'
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ImageReadError, match=r'Infrared/00001N\.png: cannot be read as an image'):
        dataset[1]
    write_image(fmb / 'train' / 'Infrared' / '00002D.png', np.zeros((64, 90), np.uint8))
    with pytest.raises(ValueError, match=r'Visible/00002D\.png is 96×64 but .*Infrared/00002D\.png is 90×64'):
        dataset[2]


@pytest.mark.parametrize(('text', 'message'), [
    (VOC.format(name='Tram', difficult=0, xmax=8), r"00000D\.xml: object 1 of 00000D is of class 'Tram'.*People, Car, Bus"),
    (VOC.format(name='Car', difficult=0, xmax=1), r'00000D\.xml: object 1 \(Car\) has a box without extent'),
    (VOC.format(name='Car', difficult=0, xmax='nan'), r'00000D\.xml: object 1 \(Car\) has a box without extent'),
    ('<html></html>', r'00000D\.xml: no Pascal VOC annotation, but a <html> without objects'),
    (
        VOC.format(name='Car', difficult=0, xmax=8).replace('<xmin>', '<xmin>-').replace('<xmax>', '<xmax>-0.'),
        r'00000D\.xml, image 00000D: box .* lies outside of its image',
    ),
    (VOC.format(name='Car', difficult=0, xmax=''), r'00000D\.xml: object 1 \(Car\) has no complete bndbox'),
    (VOC.format(name='Car', difficult=0, xmax=8)[:60], r'00000D\.xml: not readable as XML'),
])  # fmt: skip
def test_bad_annotations_are_named(folders, tmp_path, text, message):
    root = shutil.copytree(folders['m3fd'], tmp_path / 'm3fd')
    (root / 'M3FD_Detection' / 'Annotation' / '00000D.xml').write_text(text)
    with pytest.raises(ValueError, match=message):
        M3FDDataset(data_root=str(root), with_boxes=True)


def test_one_box_outside_of_its_image_is_left_out(folders, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *_: lines.append(text))
    root = shutil.copytree(folders['m3fd'], tmp_path / 'm3fd')
    text = VOC.format(name='Car', difficult=0, xmax=8)
    box = text[text.index('<object>') : text.index('</object>') + len('</object>')]
    far = box.replace('<xmin>', '<xmin>-').replace('<xmax>', '<xmax>-0.')
    file = root / 'M3FD_Detection' / 'Annotation' / '00000D.xml'
    file.write_text(text.replace(box, box + far))
    infos = {info['img_id']: info for info in M3FDDataset(data_root=str(root), with_boxes=True, serialize_data=False)}
    assert len(infos['00000D']['instances']) == 1
    assert [bool(re.search(r'00000D\.xml, image 00000D: box .* 1 of 2 are left out', line)) for line in lines] == [True]


@pytest.mark.parametrize(('cls', 'kwargs', 'message'), [
    (FMBDataset, dict(split='val'), "FMBDataset has no split 'val'; its splits are train, test"),
    (M3FDDataset, dict(split='fusion', with_boxes=True), r'M3FDDataset \(fusion\) holds nothing for with_boxes'),
    (TNODataset, dict(with_labels=True), r'TNODataset \(test\) holds nothing for with_labels'),
])  # fmt: skip
def test_what_a_dataset_has_not(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(data_root='anywhere', **kwargs)


def test_other_folder_names(tmp_path):
    make_pairs(tmp_path, 'M3FD_Detection/vi', 'M3FD_Detection/ir', ['1.png'])
    prefix = dict(vi_path='M3FD_Detection/vi', ir_path='M3FD_Detection/ir')
    assert len(M3FDDataset(data_root=str(tmp_path), data_prefix=prefix)) == 1


# Configs


@pytest.mark.parametrize('name', ['fmb', 'msrs', 'roadscene', 'm3fd', 'llvip', 'mfnet', 'tno', 'synthetic'])
def test_base_configs(name, tmp_path, monkeypatch):
    """They resolve MMFUSION_DATA through inheritance, and hold only types that can be built."""
    monkeypatch.setenv('MMFUSION_DATA', '/somewhere')
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = ['{ROOT}/configs/_base_/datasets/{name}.py']\n")
    cfg = Config.fromfile(child)
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        if part == 'train' and name == 'tno':
            assert loader is None
            continue
        assert DATASETS.get(loader.dataset.type) is not None
        if name != 'synthetic':
            assert loader.dataset.data_root.startswith('/somewhere/')
        if loader.dataset.get('ann_file'):
            assert Path(loader.dataset.ann_file).is_file()
        for transform in loader.dataset.pipeline:
            assert TRANSFORMS.get(transform.type) is not None, transform.type
    monkeypatch.delenv('MMFUSION_DATA')
    if name != 'synthetic':
        assert Config.fromfile(child).data_root.startswith('data/')


@pytest.mark.parametrize(('name', 'layout', 'folder'), [('fmb', 'fmb', 'FMB'), ('msrs', 'msrs', 'MSRS')])
def test_base_config_on_the_layout(folders, tmp_path, monkeypatch, name, layout, folder):
    """The configs' own pipelines run on what the converter wrote, and give packed patches."""
    (tmp_path / folder).symlink_to(folders[layout])
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path))
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py')
    cfg.train_dataloader.dataset.pipeline[2].crop_size = (32, 48)
    packed = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert packed['inputs'].shape == (4, 32, 48)
    assert packed['data_samples'].gt_saliency.vi.shape == (1, 32, 48)
    assert DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs'].shape == (4, *SIZE)


# Real pairs


@pytest.mark.data
@pytest.mark.parametrize(('cls', 'folder', 'kwargs', 'count'), [
    (RoadSceneDataset, 'RoadScene', dict(), 221),
    (RoadSceneDataset, 'RoadScene', dict(ann_file='roadscene_train.txt'), 199),
    (RoadSceneDataset, 'RoadScene', dict(ann_file='roadscene_val.txt'), 22),
    (TNODataset, 'TNO', dict(), 42),
    (TNODataset, 'TNO', dict(ann_file='tno_21.txt'), 21),
    (FusionDataset, 'samples/LLVIP/train', dict(), 32),
    (FusionDataset, 'samples/LLVIP/test', dict(), 12),
    (FusionDataset, 'samples/MSRS', dict(), 5),
    (FusionDataset, 'samples/M3FD', dict(), 1),
])  # fmt: skip
def test_real_pairs(data_dir, cls, folder, kwargs, count):
    if 'ann_file' in kwargs:
        kwargs = dict(ann_file=str(ROOT / 'configs' / '_base_' / 'datasets' / 'splits' / kwargs['ann_file']))
    pipeline = [*LOAD, dict(type='mmfusion.PackFusionInputs')]
    dataset = cls(data_root=str(data_dir / folder), pipeline=pipeline, **kwargs)
    assert len(dataset) == count
    packed = dataset[count - 1]
    assert packed['inputs'].shape[0] == 4
    assert packed['inputs'][3].float().std() > 5


@pytest.mark.parametrize('kind', ['FusionDataset', 'OCCODataset'])
def test_a_users_own_classes_are_those_of_the_labels(kind, tmp_path):
    """A dataset without classes of its own takes the user's; a single word is one class."""
    for name, value in (('vi', 9), ('ir', 9), ('lab', 1)):
        write_image(tmp_path / name / 'a.png', np.full((8, 8), value, np.uint8))
    options = dict(data_root=str(tmp_path), pipeline=[dict(type='LoadImagePair'), dict(type='LoadSegLabels')])
    if kind == 'OCCODataset':
        options.update(with_masks=False, with_labels=True)
    prefix = dict(vi_path='vi', ir_path='ir', seg_map_path='lab')
    dataset = DATASETS.build(dict(type=kind, metainfo=dict(classes=('ground', 'leaf')), data_prefix=prefix, **options))
    assert dataset[0]['gt_seg_map'].max() == 1
    one = DATASETS.build(dict(type=kind, metainfo=dict(classes='leaf'), data_prefix=prefix, **options))
    assert one.metainfo['classes'] == ('leaf',)
    with pytest.raises(ValueError, match='label 1 is outside the classes; the dataset has labels 0 to 0'):
        one[0]


@pytest.mark.parametrize(('metainfo', 'message'), [
    (5, 'metainfo is 5; expected a dict'),
    (dict(classes=3), 'metainfo.classes is 3; expected a list of names'),
    (dict(CLASSES=('a',)), 'metainfo has CLASSES, which is not read; write classes'),
    (dict(classes=('a', 'b', 'a')), "metainfo.classes has 'a' twice"),
    (dict(classes=('a', 'b'), palette=[[0, 0, 0]]), 'metainfo.palette is .* one for each of the classes'),
])  # fmt: skip
def test_metainfo_that_cannot_be(metainfo, message):
    with pytest.raises(ValueError, match=message):
        FusionDataset(data_root='anywhere', metainfo=metainfo, lazy_init=True)


def test_classes_of_a_file_and_none(tmp_path):
    for name, value in (('vi', 9), ('ir', 9), ('lab', 1)):
        write_image(tmp_path / name / 'a.png', np.full((8, 8), value, np.uint8))
    (tmp_path / 'classes.txt').write_text('ground\nleaf\n')
    options = dict(data_root=str(tmp_path), data_prefix=dict(vi_path='vi', ir_path='ir', seg_map_path='lab'))
    options['pipeline'] = [dict(type='LoadImagePair'), dict(type='LoadSegLabels')]
    dataset = FusionDataset(metainfo=dict(classes=str(tmp_path / 'classes.txt')), **options)
    assert dataset.metainfo['classes'] == ('ground', 'leaf')
    assert dataset[0]['gt_seg_map'].max() == 1
    with pytest.raises(ValueError, match=r'a\.png: has labels, and the dataset no classes: name them in its metainfo'):
        FusionDataset(metainfo=dict(classes=None), **options)[0]


def test_empty_list_and_texts_of_another_form(tmp_path):
    for name in ('vi', 'ir'):
        write_image(tmp_path / name / 'a.png', np.zeros((8, 8), np.uint8))
    (tmp_path / 'x').write_text('')
    with pytest.raises(ValueError, match=r'x: an empty list \(ann_file of FusionDataset\)'):
        FusionDataset(data_root=str(tmp_path), ann_file='x')
    (tmp_path / 'x').write_text('["a"]')
    with pytest.raises(ValueError, match=r'x: expected a JSON file of image stem'):
        FusionDataset(data_root=str(tmp_path), texts='x')


def test_patterns_and_subfolders(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    for scene in ('day', 'night'):
        write_image(tmp_path / f'vi/{scene}/1_VIS.png', image)
        write_image(tmp_path / f'ir/{scene}/1_IR.png', image)
        write_image(tmp_path / f'label/{scene}/1_mask.png', image[..., 0])
        write_image(tmp_path / f'mask_vi/{scene}/mask_1.png', image[..., 0])
    (tmp_path / 'list.txt').write_text('night/1_VIS.png\n')
    options = dict(
        data_root=str(tmp_path),
        data_prefix=dict(vi_path='vi', ir_path='ir', seg_map_path='label', mask_vi_path='mask_vi'),
        patterns=dict(seg_map_path='{name}_mask'),
    )
    with pytest.raises(ValueError, match=r"--vi-pattern '\{name\}_VIS' --ir-pattern '\{name\}_IR'"):
        FusionDataset(**options)
    options.update(vi_pattern='{name}_VIS', ir_pattern='{name}_IR')
    dataset = FusionDataset(**options)
    assert [dataset.get_data_info(k)['img_id'] for k in range(2)] == ['day/1', 'night/1']
    info = FusionDataset(ann_file='list.txt', **options).get_data_info(0)
    parts = ['ir/night/1_IR.png', 'label/night/1_mask.png', 'mask_vi/night/mask_1.png']
    assert [info[key] for key in ('ir_path', 'seg_map_path', 'mask_vi_path')] == [str(tmp_path / p) for p in parts]


@pytest.fixture
def labelled(tmp_path):
    """Two pairs with label maps of a mask's values, 0 and 255; the folder."""
    for name in 'ab':
        for kind, value in (('vi', 9), ('ir', 7), ('masks', 255)):
            image = np.zeros((40, 60) if kind != 'vi' else (40, 60, 3), np.uint8)
            image[10:20, 10:30] = value
            write_image(tmp_path / kind / f'{name}.png', image)
    return tmp_path


def own(root, *pipeline, **options):
    prefix = dict(vi_path='vi', ir_path='ir', seg_map_path='masks')
    given = dict(data_root=str(root), metainfo=dict(classes=('ground', 'leaf')), data_prefix=prefix, pipeline=pipeline)
    return FusionDataset(**{**given, **options})


def test_a_class_that_is_ignored_is_noticed(labelled, monkeypatch):
    """Masks of 0 and 255 were taken as labels, and nothing was learnt of their object."""
    lines = []
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *_: lines.append(text))
    dataset = own(labelled, dict(type='mmfusion.LoadSegLabels'))
    assert set(np.unique(dataset[0]['gt_seg_map'])) == {0, 255}
    dataset[1]
    assert [
        bool(re.search(r'masks/a\.png: has the labels 0 and 255 alone.*save that class as 1', x)) for x in lines
    ] == [True]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(data_prefix='vi'), "data_prefix is 'vi'; expected a dict of folders"),
        (dict(data_prefix=dict(vi_path=3)), 'data_prefix is .* expected a dict of folders'),
        (dict(ann_file=['a']), r"ann_file is \['a'\]; expected the path"),
        (dict(metainfo=dict(classes='nosuch.txt')), r"metainfo\.classes is 'nosuch\.txt': no such file of names"),
        (dict(filter_cfg=dict(foo=1)), 'FusionDataset: filter_cfg has foo, which is not read; expected empty_masks'),
        (dict(pipeline=[dict(type='mmfusion.PackFusionInputs')]), r'a\.png: there is no img to pack'),
        (dict(pipeline=[dict(type='mmfusion.ForegroundCrop', crop_size=8)]), 'crop_size is 8; expected a height'),
        (
            dict(pipeline=[dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.ForegroundCrop')]),
            r'a\.png: ForegroundCrop finds no gt_mask_vi\. Put .*LoadSaliencyMasks before it',
        ),
    ],
)
def test_options_that_cannot_be_used_are_named(labelled, options, message):
    with pytest.raises(ValueError, match=message):
        own(labelled, **options)[0]


def test_images_without_boxes_are_left_out_as_mmdet_does(folders, tmp_path):
    """A stock config's filter_cfg was read by nobody."""
    root = shutil.copytree(folders['m3fd'], tmp_path / 'm3fd')
    (root / 'M3FD_Detection' / 'Annotation' / '00000D.xml').write_text('<annotation></annotation>')
    options = dict(data_root=str(root), with_boxes=True)
    names = {info['img_id'] for info in M3FDDataset(**options, serialize_data=False)}
    kept = M3FDDataset(**options, serialize_data=False, filter_cfg=dict(filter_empty_gt=True, min_size=1))
    assert names - {info['img_id'] for info in kept} == {'00000D'}
    assert len(M3FDDataset(**options, test_mode=True, filter_cfg=dict(filter_empty_gt=True))) == len(names)
    with pytest.raises(ValueError, match=r'min_size.* leaves no image'):
        M3FDDataset(**options, filter_cfg=dict(min_size=10**4))


def test_the_home_in_folders(labelled, monkeypatch):
    monkeypatch.setenv('HOME', str(labelled))
    assert len(FusionDataset(data_prefix=dict(vi_path='~/vi', ir_path='~/ir'))) == 2
