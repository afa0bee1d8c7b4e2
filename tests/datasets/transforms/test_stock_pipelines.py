"""The stock pipelines of mmseg and mmdet, as adapt_pipeline makes them, against themselves on single images."""

import copy
import random

import numpy as np
import pytest
import torch
from mmdet.datasets import MultiImageMixDataset
from mmdet.datasets.transforms import YOLOXHSVRandomAug
from mmdet.structures.bbox import HorizontalBoxes
from mmengine import Config
from mmengine.registry import DefaultScope

from mmfusion.datasets import FusionDataset, render_scene
from mmfusion.datasets.transforms import ForEachModality, LoadSaliencyMasks, VisibleOnly, adapt_pipeline
from mmfusion.datasets.transforms import stock as tables
from mmfusion.registry import TRANSFORMS
from mmfusion.utils import write_image

# Config, and how many samples to draw (RTMDet's mosaic starts with the fifth).
STOCK = {
    'deeplabv3plus': ('mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py', 2),
    'segformer': ('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', 2),
    'yolox': ('mmdet::yolox/yolox_s_8xb8-300e_coco.py', 2),
    'yolov3': ('mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', 2),
    'rtmdet': ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 5),
}
SIZE = (60, 80)


class BoxedPairs(FusionDataset):
    """Pairs with two boxes each, as mmdet's datasets give them."""

    def parse_pair(self, stem, vi, ir):
        boxes = [[3 + int(stem), 5, 40, 50], [30, 20, 70, 58 - int(stem)]]
        instances = [dict(bbox=b, bbox_label=k, ignore_flag=k) for k, b in enumerate(boxes)]
        return dict(super().parse_pair(stem, vi, ir), instances=instances)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Six pairs (vi, ir), their labels (seg), and the same pairs with a grey visible image that equals the infrared."""
    folder = tmp_path_factory.mktemp('pairs')
    for k in range(6):
        scene = render_scene(seed=3, index=k, size=SIZE)
        for name, img in (('vi', scene.vi), ('ir', scene.ir), ('grey', np.repeat(scene.ir[..., None], 3, 2))):
            write_image(folder / name / f'{k}.png', img)
        write_image(folder / 'seg' / f'{k}.png', scene.seg_map)
    return folder


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    """Each stock config, inherited by a file of ours that adapts its training pipeline in the config itself."""
    loaded = {}
    for name, (base, _) in STOCK.items():
        file = tmp_path_factory.mktemp('configs') / f'{name}.py'
        lines = [
            f"_base_ = '{base}'",
            'from mmfusion.datasets.transforms import adapt_pipeline',
            'pair_pipeline = adapt_pipeline(_base_.train_pipeline)',
        ]
        file.write_text('\n'.join(lines))
        loaded[name] = Config.fromfile(file)
    return loaded


def library(name):
    return STOCK[name][0].partition(':')[0]


def loading(cfg):
    """The inner pipeline of a MultiImageMixDataset, or None."""
    dataset = cfg.train_dataloader.dataset
    return dataset.dataset.pipeline if dataset.type == 'MultiImageMixDataset' else None


def pairs(root, name, pipeline, vi='vi', ir='ir'):
    """The pairs of ``root`` with the annotations that a config's library loads."""
    prefix = dict(vi_path=vi, ir_path=ir)
    if library(name) == 'mmseg':
        prefix['seg_map_path'] = 'seg'
    zero = name == 'segformer'  # ADE20K's label 0 is unlabelled
    return BoxedPairs(data_root=str(root), data_prefix=prefix, reduce_zero_label=zero, pipeline=pipeline)


def dataset(root, name, cfg, pipeline, adapt=True, **folders):
    """The training set of a config over the pairs of ``root``, for pairs or, as the stock, for the visible images."""
    lib = library(name)
    pipeline = adapt_pipeline(pipeline) if adapt else scoped(pipeline, lib)
    inner = loading(cfg)
    if inner is None:
        return pairs(root, name, pipeline, **folders)
    inner = adapt_pipeline(inner, scope=lib) if adapt else scoped(inner, lib)
    return MultiImageMixDataset(dataset=pairs(root, name, inner, **folders), pipeline=pipeline)


def scoped(pipeline, lib):
    """A stock pipeline as its own library builds it."""
    out = [{k: v for k, v in t.items() if k != '_scope_'} for t in pipeline]
    for t in out:
        t['type'] = f'{lib}.{t["type"]}'
        if t['type'].endswith('.RandomResize'):
            t['resize_type'] = f'{lib}.Resize'
    return out


def draw(data, num):
    """Samples with fixed seeds; floating-point images are rounded as VisibleOnly rounds them."""
    samples = []
    for k in range(num):
        random.seed(k)
        np.random.seed(k)
        torch.manual_seed(k)
        sample = data[k]
        img = sample['inputs'].numpy().transpose(1, 2, 0)
        samples.append((np.clip(np.round(img), 0, 255).astype(np.uint8), sample['data_samples']))
    return samples


def without_photometric(pipeline):
    kept = [t for t in pipeline if t['type'] not in ('PhotoMetricDistortion', 'YOLOXHSVRandomAug')]
    assert len(kept) == len(pipeline) - 1
    return kept


@pytest.mark.filterwarnings('ignore:`reduce_zero_label` will be deprecated')
@pytest.mark.parametrize('name', STOCK)
def test_pairs_equal_the_stock_pipeline_on_each_image(root, configs, name):
    """Without photometric transforms, either image comes out as the stock pipeline gives it for that image alone."""
    cfg, num = configs[name], STOCK[name][1]
    pipeline = without_photometric(cfg.train_pipeline)
    both = draw(dataset(root, name, cfg, pipeline), num)
    for folder, channels in (('vi', slice(0, 3)), ('ir', slice(3, 4))):
        alone = draw(dataset(root, name, cfg, pipeline, vi=folder, ir='grey', adapt=False), num)
        for (pair, ours), (img, stock) in zip(both, alone, strict=True):
            np.testing.assert_array_equal(pair[..., channels], img[..., : channels.stop - channels.start])
            assert_annotations_equal(ours, stock)
    assert len({p.tobytes() for p, _ in both}) == num


def assert_annotations_equal(ours, stock):
    assert ('gt_sem_seg' in ours) == ('gt_sem_seg' in stock)
    if 'gt_sem_seg' in ours:
        assert torch.equal(ours.gt_sem_seg.data, stock.gt_sem_seg.data)
    for field in ('gt_instances', 'ignored_instances'):
        if field in ours:
            a, b = getattr(ours, field), getattr(stock, field)
            assert torch.equal(a.bboxes, b.bboxes.tensor)
            assert torch.equal(a.labels, b.labels)
    for key, value in stock.metainfo.items():
        if key not in ('pad_shape', 'img_path', 'seg_map_path'):  # pad_shape has the number of channels in mmcv
            assert ours.metainfo[key] == value, key


@pytest.mark.filterwarnings('ignore:`reduce_zero_label` will be deprecated')
@pytest.mark.parametrize('name', STOCK)
def test_infrared_survives_the_whole_pipeline(root, configs, name, monkeypatch):
    """With all transforms: the visible image is the stock one; infrared is moved as the visible and never recoloured."""
    # A pair of equal images is the point here.
    monkeypatch.setattr('mmfusion.datasets.transforms.loading.refuse_equal', lambda *_: None)
    cfg, num = configs[name], STOCK[name][1]
    full = draw(dataset(root, name, cfg, cfg.train_pipeline, vi='grey'), num)
    stock = draw(dataset(root, name, cfg, cfg.train_pipeline, vi='grey', adapt=False), num)
    for (pair, _), (img, _) in zip(full, stock, strict=True):
        np.testing.assert_array_equal(pair[..., :3], img)

    # The same random numbers, but the colours put back: then the visible image, which was the infrared one, still is.
    recolour = VisibleOnly.transform

    def put_back(self, results):
        before = results['img'].copy()
        return dict(recolour(self, results), img=before)

    monkeypatch.setattr(VisibleOnly, 'transform', put_back)
    plain = draw(dataset(root, name, cfg, cfg.train_pipeline, vi='grey'), num)
    for (pair, _), (same, _) in zip(full, plain, strict=True):
        np.testing.assert_array_equal(pair[..., 3], same[..., 3])
        np.testing.assert_array_equal(same[..., 3], same[..., 1])
        assert same[..., 3].std() > 1  # an image, not its border
    assert any((pair[..., 1] != same[..., 1]).any() for (pair, _), (same, _) in zip(full, plain, strict=True))


@pytest.mark.filterwarnings('ignore:`reduce_zero_label` will be deprecated')
@pytest.mark.parametrize('name', STOCK)
def test_test_pipelines(root, configs, name):
    pipeline = configs[name].test_pipeline
    pair, ours = draw(pairs(root, name, adapt_pipeline(pipeline)), 1)[0]
    img, stock = draw(pairs(root, name, scoped(pipeline, library(name))), 1)[0]
    np.testing.assert_array_equal(pair[..., :3], img)
    assert_annotations_equal(ours, stock)
    if library(name) == 'mmseg':  # labels are scored at the size of the file
        assert ours.gt_sem_seg.shape == ours.ori_shape != ours.img_shape


def test_mode_switch_of_yolox(root, configs):
    """YOLOXModeSwitchHook's last epochs: with the wrapper's name to skip, the rest is the stock rest."""
    cfg = configs['yolox']
    ours, stock = (dataset(root, 'yolox', cfg, cfg.train_pipeline, adapt=adapt) for adapt in (True, False))
    ours.update_skip_type_keys(('mmfusion.ForEachModality',))
    stock.update_skip_type_keys(('mmdet.Mosaic', 'mmdet.RandomAffine', 'mmdet.MixUp'))
    for (pair, a), (img, b) in zip(draw(ours, 1), draw(stock, 1), strict=True):
        np.testing.assert_array_equal(pair[..., :3], img)
        assert (pair[-1, :, 3] == 114).all()  # 640×480 in a square
        assert_annotations_equal(a, b)


def test_second_stage_of_rtmdet(root, configs):
    cfg = configs['rtmdet']
    stage2 = cfg.custom_hooks[1].switch_pipeline
    pair, _ = draw(pairs(root, 'rtmdet', adapt_pipeline(stage2)), 1)[0]
    assert pair.shape == (640, 640, 4)


@pytest.mark.parametrize('name', STOCK)
def test_adapting_in_a_config(configs, name, tmp_path):
    cfg = configs[name]
    assert cfg.pair_pipeline == adapt_pipeline(cfg.train_pipeline)
    assert adapt_pipeline(cfg.pair_pipeline) == cfg.pair_pipeline  # nothing is wrapped twice
    assert all('.' in t['type'] for t in cfg.pair_pipeline)
    # Through a file, as a run's work_dir keeps it; only this part, since formatting a whole config takes seconds.
    Config(dict(pipeline=cfg.pair_pipeline)).dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').pipeline == cfg.pair_pipeline


def test_the_stock_pipeline_is_not_changed(configs):
    for cfg in configs.values():
        before = copy.deepcopy(cfg.train_pipeline)
        adapt_pipeline(cfg.train_pipeline)
        assert cfg.train_pipeline == before


def test_test_time_augmentation(root, configs):
    sample = pairs(root, 'deeplabv3plus', adapt_pipeline(configs['deeplabv3plus'].tta_pipeline))[0]
    assert [tuple(i.shape[1:]) for i in sample['inputs'][::2]] == [
        (int(60 * r + 0.5), int(80 * r + 0.5)) for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    ]
    assert torch.equal(sample['inputs'][4].flip(2), sample['inputs'][5])
    assert all(len(i) == 4 for i in sample['inputs'])


def one(cfg, **kwargs):
    (adapted,) = adapt_pipeline([cfg], **kwargs)
    return adapted


@pytest.mark.parametrize('name', sorted(tables.PHOTOMETRIC | tables.THREE_CHANNELS | tables.ANY_CHANNELS))
def test_tables_name_real_transforms(name):
    kind = name.replace('mmcv.', 'mmengine.')
    assert tables.library_name(TRANSFORMS.get(kind)) == name


# What is silently wrong on four channels (DESIGN.md), and what becomes of it.
@pytest.mark.parametrize(
    ('cfg', 'wrapper'),
    [
        (dict(type='mmdet.YOLOXHSVRandomAug'), 'mmfusion.VisibleOnly'),
        (dict(type='mmdet.PhotoMetricDistortion'), 'mmfusion.VisibleOnly'),
        (dict(type='mmseg.PhotoMetricDistortion'), 'mmfusion.VisibleOnly'),
        (dict(type='mmdet.RandomAffine'), 'mmfusion.ForEachModality'),
        (dict(type='mmdet.Resize', scale=(20, 20), backend='pillow'), 'mmfusion.ForEachModality'),
        (dict(type='mmseg.RandomResize', scale=(9, 9), backend='pillow'), 'mmfusion.ForEachModality'),
        (dict(type='mmdet.Rotate'), 'mmfusion.ForEachModality'),
    ],
    ids=lambda v: v['type'] if isinstance(v, dict) else '',
)
def test_silently_wrong_transforms_are_wrapped(cfg, wrapper):
    adapted = one(cfg)
    assert adapted['type'] == wrapper
    inner = adapted.get('transform') or adapted['transforms'][0]
    expected = dict(cfg, type=cfg['type'].replace('mmseg.RandomResize', 'mmengine.RandomResize'))  # mmcv's
    assert {k: inner[k] for k in cfg} == expected
    TRANSFORMS.build(adapted)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            dict(type='mmdet.Pad', size=(9, 9), pad_val=dict(img=114.0)),
            r'mmdet\.Pad: the fill value 114\.0 goes to the first',
        ),
        (
            dict(type='mmseg.RandomRotate', prob=1.0, degree=9, pad_val=114),
            r'Give one for each .*: \(114, 114, 114, 114\)',
        ),
        (dict(type='mmdet.Pad', size=(9, 9), pad_val=dict(img=(1, 2))), r'\(1, 2\) has 2 numbers; expected 3 .* or 4'),
        (dict(type='RandomGrayscale'), 'RandomGrayscale: without keep_channels=True'),
        (
            dict(type='Normalize', mean=[0], std=[1]),
            r'does not know what mmengine\.Normalize does.*VisibleOnly.*ForEach.*keep=',
        ),
        (dict(type='AutoAugment', policies=[]), r'does not know what mmdet\.AutoAugment'),
        (dict(type='LoadAnnotations', with_mask=True), r'mmdet\.LoadAnnotations: with_mask=True'),
        (
            dict(type='LoadImageFromFile', color_type='grayscale'),
            r"LoadImagePair has no color_type='grayscale'.*load=",
        ),
        (dict(type='RandomResize', scale=(9, 9), resize_type='Mosaic'), r"resize_type='mmdet\.Mosaic' is not known"),
    ],
    ids=lambda v: v['type'] if isinstance(v, dict) else '',
)
def test_refusals(cfg, message):
    with pytest.raises(ValueError, match=message):
        one(cfg, scope='mmdet')


def test_names_without_a_library():
    with pytest.raises(KeyError, match=r"LoadAnnotations: no packer .* Give scope='mmseg' or scope='mmdet'"):
        one(dict(type='LoadAnnotations'))
    with pytest.raises(KeyError, match=r'mmdet\.Mosaik: no such transform is registered'):
        one(dict(type='Mosaik'), scope='mmdet')
    assert one(dict(type='LoadAnnotations', _scope_='mmseg')) == dict(type='mmseg.LoadAnnotations')
    assert one(dict(type=YOLOXHSVRandomAug), scope='mmdet')['transforms'] == [dict(type='mmdet.YOLOXHSVRandomAug')]


def test_fill_values():
    assert one(dict(type='mmdet.Pad', pad_val=dict(img=(1.0, 2.0, 3.0), seg=9)))['pad_val'] == dict(
        img=(1.0, 2.0, 3.0, 1.0), seg=9
    )
    assert one(dict(type='mmdet.Pad', pad_val=114))['pad_val'] == 114
    assert one(dict(type='mmdet.Pad', pad_val=dict(img=114)))['pad_val'] == dict(img=114)
    assert 'pad_val' not in one(dict(type='mmdet.Pad', size=(3, 3)))
    assert one(dict(type='mmseg.RandomRotate', pad_val=(1, 2, 3)))['pad_val'] == (1, 2, 3, 1)
    crop = dict(type='CenterCrop', crop_size=9, auto_pad=True, pad_cfg=dict(type='Pad', pad_val=dict(img=(1, 2, 3))))
    assert one(crop, scope='mmdet')['pad_cfg']['pad_val'] == dict(img=(1, 2, 3, 1))


def test_a_transform_that_takes_floats_only():
    """CenterNet's crop: either modality as the stock transform gives it for that one, rounded; boxes, too."""
    cfg = dict(type='mmdet.RandomCenterCropPad', crop_size=(48, 40), ratios=(0.7, 1.5), border=8, test_pad_mode=None)
    cfg.update(mean=[123.675, 116.28, 103.53], std=[1, 1, 1], to_rgb=True)
    adapted = adapt_pipeline([dict(type='LoadImageFromFile', to_float32=True), cfg], scope='mmdet')
    assert [t['type'] for t in adapted] == ['mmfusion.LoadImagePair', 'mmfusion.ForEachModality']
    pair = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), np.uint8)
    ours, stock = TRANSFORMS.build(adapted[1]), TRANSFORMS.build(cfg)
    fills = set()
    for seed in range(6):
        results = []
        for transform, img in (
            (ours, pair),
            (stock, pair[..., :3].astype(np.float32)),
            (stock, np.repeat(pair[..., 3:], 3, axis=2).astype(np.float32)),
        ):
            random.seed(seed)
            np.random.seed(seed)
            boxes = HorizontalBoxes(np.array([[3, 5, 40, 50], [30, 20, 70, 58]], np.float32))
            results.append(transform(dict(img=img, img_shape=SIZE, gt_bboxes=boxes)))
        joined, vi, ir = results
        expected = np.round(np.concatenate([vi['img'], ir['img'][..., :1]], axis=2))
        assert joined['img'].dtype == np.uint8
        np.testing.assert_array_equal(joined['img'], expected)
        assert torch.equal(joined['gt_bboxes'].tensor, vi['gt_bboxes'].tensor)
        fills |= set(map(tuple, joined['img'][:, 0].tolist()))
    assert (104, 116, 124, 104) in fills  # beyond the image


def test_transforms_inside_transforms():
    flip, hue = dict(type='RandomFlip', prob=0.5), dict(type='YOLOXHSVRandomAug')
    wrapped = dict(type='mmfusion.VisibleOnly', transforms=[dict(type='mmdet.YOLOXHSVRandomAug')])
    assert one(dict(type='RandomApply', transforms=hue, prob=0.3), scope='mmdet') == dict(
        type='mmengine.RandomApply', transforms=[wrapped], prob=0.3
    )
    assert one(dict(type='RandomChoice', transforms=[[flip, hue], [hue]]), scope='mmdet')['transforms'] == [
        [dict(type='mmdet.RandomFlip', prob=0.5), wrapped],
        [wrapped],
    ]


def test_own_load_pack_annotations_and_keep():
    stock = [
        dict(type='LoadImageFromFile', color_type='unchanged'),
        dict(type='LoadAnnotations'),
        dict(type='Rerange'),
        dict(type='PackSegInputs', meta_keys=('img_path', 'night')),
    ]
    load = [dict(type='mmfusion.LoadImagePair', depth16='stretch'), dict(type='mmfusion.LoadSaliencyMasks')]
    adapted = adapt_pipeline(
        stock,
        load=load,
        annotations=dict(type='mmfusion.LoadSegLabels'),
        pack=dict(type='mmfusion.PackFusionInputs', meta_keys=('img_id',)),
        keep=('mmseg.Rerange',),
    )
    assert adapted == [
        *load,
        dict(type='mmfusion.LoadSegLabels'),
        dict(type='mmseg.Rerange'),
        dict(type='mmfusion.PackFusionInputs', meta_keys=('img_id', 'img_path', 'night')),
    ]
    assert [t['type'] for t in adapt_pipeline(stock, load=load, annotations=(), keep=('mmseg.Rerange',))[2:]] == [
        'mmseg.Rerange',
        'mmfusion.PackFusionInputs',
    ]


def test_masks_that_would_be_left_behind():
    """mmdet's flip knows gt_seg_map and not seg_fields: the masks would silently lie on the wrong side."""
    load = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.LoadSaliencyMasks')]
    stock = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5)]
    with pytest.raises(ValueError, match=r'mmdet\.RandomFlip moves the image and not the masks.*mmseg\.RandomFlip'):
        adapt_pipeline(stock, load=load, scope='mmdet')
    adapt_pipeline(stock, load=load, scope='mmseg')

    @TRANSFORMS.register_module(force=True)
    class OwnMasksOfATest(LoadSaliencyMasks):
        """A user's subclass."""

    with pytest.raises(ValueError, match=r'take mmfusion\.OwnMasksOfATest out of this pipeline'):
        adapt_pipeline(stock, load=[load[0], dict(type='mmfusion.OwnMasksOfATest')], scope='mmdet')
    synthetic = dict(type='mmfusion.RenderSyntheticPair')
    with pytest.raises(
        ValueError, match=r'and not the masks of .*: give mmfusion.RenderSyntheticPair with_masks=False'
    ):
        adapt_pipeline(stock, load=synthetic, scope='mmdet')
    adapt_pipeline(stock, load=dict(synthetic, with_masks=False), scope='mmdet')
    resize = [dict(type='LoadImageFromFile'), dict(type='RandomResize', scale=(9, 9))]
    adapt_pipeline(resize, load=load, scope='mmseg')
    with pytest.raises(ValueError, match=r'mmengine\.RandomResize moves the image and not the masks'):
        adapt_pipeline(resize, load=load, scope='mmdet')


@pytest.mark.parametrize('name', sorted(tables.MOVE_SEG_FIELDS))
def test_mmseg_moves_every_map(name):
    """The list of transforms that may stand beside masks: image, labels and masks stay on each other."""
    options = {
        'mmseg.RandomCrop': dict(crop_size=(20, 30)),
        'mmseg.RandomCutOut': dict(prob=1.0, n_holes=3, cutout_shape=(9, 7), fill_in=(255,) * 3, seg_fill_in=255),
        'mmseg.RandomFlip': dict(prob=1.0),
        'mmseg.RandomMosaic': dict(prob=1.0, img_scale=(40, 50), pad_val=255),
        'mmseg.RandomRotFlip': dict(rotate_prob=0.0, flip_prob=1.0),
        'mmseg.RandomRotate': dict(prob=1.0, degree=90, pad_val=(255,) * 4),
        'mmseg.Resize': dict(scale=(90, 70), interpolation='nearest'),
        'mmseg.ResizeShortestEdge': dict(scale=30, max_size=70),
        'mmseg.ResizeToMultiple': dict(size_divisor=32, interpolation='nearest'),
    }
    rng = np.random.default_rng(0)

    def results():
        # Blocks, so that a rotation's interpolation and rounding touch only their edges.
        field = np.kron(rng.integers(0, 2, (5, 6), np.uint8), np.ones((8, 8), np.uint8))
        maps = {key: field.copy() for key in ('gt_seg_map', 'gt_mask_vi', 'gt_mask_ir')}
        return dict(img=np.repeat(field[..., None], 4, 2), img_shape=field.shape, seg_fields=list(maps), **maps)

    sample = results()
    sample['mix_results'] = [results() for _ in range(3)]
    np.random.seed(0)
    # mmseg.ResizeShortestEdge builds a 'Resize' of the default scope: of another one than mmseg's it is mmcv's, which
    # leaves the masks as they were, and PackFusionInputs then says so.
    with DefaultScope.overwrite_default_scope('mmseg'):
        transform = TRANSFORMS.build(dict(type=name, **options[name]))
    transform = ForEachModality(dict(type=name, **options[name])) if name in tables.THREE_CHANNELS else transform
    out = transform(sample)
    for key in ('gt_mask_vi', 'gt_mask_ir'):
        np.testing.assert_array_equal(out[key], out['gt_seg_map'])
    assert (out['img'][..., 3] == out['gt_mask_vi']).mean() > 0.9
