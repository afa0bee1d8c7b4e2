"""Stock transforms on pairs: what is bit-equal as it is, and what the wrappers make right."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmfusion.datasets.transforms import ForEachModality, VisibleOnly
from mmfusion.registry import TRANSFORMS

HEIGHT, WIDTH = 41, 52


def make(seed=0, library='mmdet'):
    """Results of a pair with annotations as the loaders of a library give them."""
    rng = np.random.default_rng(seed)
    img = rng.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    results = dict(img=img, img_path=f'{seed}.png', img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH))
    if library == 'mmseg':
        labels = rng.integers(0, 5, (HEIGHT, WIDTH), np.uint8)
        mask = rng.integers(0, 2, (HEIGHT, WIDTH), np.uint8)
        results.update(gt_seg_map=labels, gt_mask_vi=mask, gt_mask_ir=1 - mask)
        results['seg_fields'] = ['gt_seg_map', 'gt_mask_vi', 'gt_mask_ir']
    else:
        boxes = np.array([[2, 3, 20, 30], [10, 5, 50, 25], [30, 20, 45, 40]], np.float32) + seed
        results.update(gt_bboxes=HorizontalBoxes(boxes), gt_bboxes_labels=np.array([0, 1, 2]) + seed)
        results['gt_ignore_flags'] = np.array([False, True, False])
    return results


def part(results, modality):
    """The results of one image alone, as a stock pipeline sees them; infrared as three equal channels."""
    results = dict(results)
    pair = results['img']
    results['img'] = pair[..., :3].copy() if modality == 'vi' else np.repeat(pair[..., 3:], 3, 2)
    if 'mix_results' in results:
        results['mix_results'] = [part(m, modality) for m in results['mix_results']]
    return results


def run(transform, results, seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return transform(results)


def assert_annotations_equal(a, b):
    for key in ('gt_seg_map', 'gt_mask_vi', 'gt_mask_ir', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'flip'):
        assert (key in a) == (key in b)
        if key in a:
            x, y = (d[key].tensor if key == 'gt_bboxes' else d[key] for d in (a, b))
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    assert a['img_shape'][:2] == b['img_shape'][:2]


# The stock transforms that DESIGN names as right on H×W×4, and the others that adapt_pipeline leaves unwrapped.
FOUR_CHANNELS = [
    ('mmseg', dict(type='mmseg.Resize', scale=(90, 70))),
    ('mmseg', dict(type='mmseg.Resize', scale=(31, 17), keep_ratio=True, interpolation='area')),
    ('mmseg', dict(type='mmseg.RandomResize', scale=(90, 60), ratio_range=(0.5, 2.0), resize_type='mmseg.Resize')),
    (
        'mmseg',
        dict(type='mmseg.RandomChoiceResize', scales=[20, 30, 70], resize_type='mmseg.ResizeShortestEdge', max_size=90),
    ),
    ('mmseg', dict(type='mmseg.RandomFlip', prob=[0.4, 0.4], direction=['horizontal', 'vertical'])),
    ('mmseg', dict(type='mmseg.RandomCrop', crop_size=(20, 30), cat_max_ratio=0.75)),
    ('mmseg', dict(type='mmseg.RandomRotate', prob=1.0, degree=30)),
    ('mmseg', dict(type='mmseg.RandomRotate', prob=1.0, degree=30, pad_val=(9, 9, 9, 9), auto_bound=True)),
    ('mmseg', dict(type='mmseg.RandomRotFlip', rotate_prob=0.5, flip_prob=0.5)),
    ('mmseg', dict(type='mmseg.ResizeToMultiple', size_divisor=32)),
    ('mmseg', dict(type='mmseg.RandomMosaic', prob=1.0, img_scale=(40, 50), pad_val=7)),
    ('mmdet', dict(type='mmdet.Resize', scale=(90, 70), keep_ratio=True)),
    ('mmdet', dict(type='mmdet.FixShapeResize', width=64, height=32)),
    ('mmdet', dict(type='mmdet.FixScaleResize', scale=(70, 60), keep_ratio=True)),
    ('mmdet', dict(type='mmdet.RandomResize', scale=[(32, 32), (60, 60)], keep_ratio=True, resize_type='mmdet.Resize')),
    ('mmdet', dict(type='mmdet.ResizeShortestEdge', scale=30, max_size=50, resize_type='mmdet.Resize')),
    ('mmdet', dict(type='mmdet.RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal'])),
    ('mmdet', dict(type='mmdet.RandomShift', prob=1.0, max_shift_px=12)),
    ('mmdet', dict(type='mmdet.RandomCrop', crop_size=(25, 30))),
    ('mmdet', dict(type='mmdet.RandomCrop', crop_size=(0.4, 0.4), crop_type='relative_range')),
    ('mmdet', dict(type='mmdet.MinIoURandomCrop')),
    ('mmdet', dict(type='mmdet.Pad', size=(80, 64), pad_val=114)),
    ('mmdet', dict(type='mmdet.Pad', size_divisor=32, padding_mode='reflect')),
    ('mmcv', dict(type='CenterCrop', crop_size=(30, 20))),
    ('mmcv', dict(type='CenterCrop', crop_size=(80, 20), auto_pad=True, pad_cfg=dict(type='Pad', pad_val=3))),
]


@pytest.mark.parametrize(('library', 'cfg'), FOUR_CHANNELS, ids=lambda v: v['type'] if isinstance(v, dict) else '')
def test_stock_geometry_is_bit_equal_on_pairs(library, cfg):
    results = make(library=library)
    if library == 'mmcv':
        for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
            del results[key]
    if 'Mosaic' in cfg['type']:
        results['mix_results'] = [make(k, 'mmseg') for k in (1, 2, 3)]
    changed, stock = False, TRANSFORMS.build(cfg)
    for seed in range(6):
        both, vi, ir = (run(stock, copied(r), seed) for r in (results, part(results, 'vi'), part(results, 'ir')))
        assert both['img'].dtype == np.uint8
        np.testing.assert_array_equal(both['img'][..., :3], vi['img'])
        np.testing.assert_array_equal(both['img'][..., 3], ir['img'][..., 0])
        assert_annotations_equal(both, vi)
        changed |= both['img'].shape != results['img'].shape or (both['img'] != results['img']).any()
    assert changed  # or the transform never did anything


def test_padding_with_four_values():
    results = make()
    cfg = dict(type='mmdet.Pad', pad_to_square=True)
    pair = TRANSFORMS.build(dict(cfg, pad_val=dict(img=(1.0, 2.0, 3.0, 4.0))))(copied(results))
    vi = TRANSFORMS.build(dict(cfg, pad_val=dict(img=(1.0, 2.0, 3.0))))(part(results, 'vi'))
    np.testing.assert_array_equal(pair['img'][..., :3], vi['img'])
    np.testing.assert_array_equal(pair['img'][:HEIGHT, :, 3], results['img'][..., 3])
    assert (pair['img'][HEIGHT:, :, 3] == 4).all()


def copied(results):
    """A copy whose arrays may be changed in place."""
    out = {}
    for key, value in results.items():
        if key == 'mix_results':
            out[key] = [copied(m) for m in value]
        elif key == 'gt_bboxes':
            out[key] = value.clone()
        else:
            out[key] = value.copy() if hasattr(value, 'copy') else value
    return out


PHOTOMETRIC = [
    dict(type='mmdet.YOLOXHSVRandomAug', hue_delta=30, saturation_delta=90, value_delta=90),
    dict(type='mmdet.PhotoMetricDistortion'),
    dict(type='mmseg.PhotoMetricDistortion'),
    dict(type='RandomGrayscale', prob=0.7, keep_channels=True),
    dict(type='mmseg.CLAHE'),
    dict(type='mmseg.AdjustGamma', gamma=2.0),
    dict(type='mmdet.Color', prob=1.0, level=8),
    dict(type='mmdet.Brightness', prob=1.0, level=8),
    dict(type='mmdet.Contrast', prob=1.0, level=8),
    dict(type='mmdet.Sharpness', prob=1.0, level=3),
    dict(type='mmdet.Solarize', prob=1.0, level=3),
    dict(type='mmdet.SolarizeAdd', prob=1.0, level=8),
    dict(type='mmdet.Posterize', prob=1.0, level=3),
    dict(type='mmdet.Equalize', prob=1.0),
    dict(type='mmdet.AutoContrast', prob=1.0),
    dict(type='mmdet.Invert', prob=1.0),
]


@pytest.mark.parametrize('cfg', PHOTOMETRIC, ids=lambda cfg: cfg['type'])
def test_visible_only(cfg):
    results = make()
    results['img'][..., :3] = results['img'][..., :3] // 2 + 40  # room for AutoContrast and Equalize to do something
    changed, wrapped, stock = False, VisibleOnly([cfg]), TRANSFORMS.build(cfg)
    for seed in range(5):
        pair = run(wrapped, copied(results), seed)
        expected = run(stock, part(results, 'vi'), seed)['img']
        if expected.dtype != np.uint8:
            expected = np.clip(np.round(expected), 0, 255)
        assert pair['img'].dtype == np.uint8
        np.testing.assert_array_equal(pair['img'][..., :3], expected)
        np.testing.assert_array_equal(pair['img'][..., 3], results['img'][..., 3])
        assert_annotations_equal(pair, results)
        changed |= (pair['img'] != results['img']).any()
    assert changed


def test_visible_only_runs_several_in_order():
    results = make()
    cfgs = [dict(type='mmdet.Invert', prob=1.0), dict(type='mmseg.AdjustGamma', gamma=2.0)]
    vi = part(results, 'vi')
    for cfg in cfgs:
        vi = TRANSFORMS.build(cfg)(vi)
    np.testing.assert_array_equal(VisibleOnly(cfgs)(copied(results))['img'][..., :3], vi['img'])


def test_visible_only_refuses_what_is_geometric():
    with pytest.raises(ValueError, match=r'VisibleOnly: RandomFlip.* is geometric.*ForEachModality'):
        VisibleOnly([dict(type='mmdet.Invert', prob=1.0), dict(type='mmdet.RandomFlip', prob=1.0)])
    # One that the tables do not know is found out by what it does.
    sneaky = VisibleOnly([])
    sneaky.transforms = lambda results: dict(results, img=results['img'][1:])
    with pytest.raises(
        ValueError, match=r'turned \(41, 52, 3\) into \(40, 52, 3\); the infrared image would no longer'
    ):
        sneaky(make())
    with pytest.raises(ValueError, match=r'into \(41, 52\); a visible image has three channels .*keep_channels=True'):
        VisibleOnly([dict(type='RandomGrayscale', prob=1.0)])(make())


def test_visible_only_hands_on_a_skipped_sample():
    skipping = VisibleOnly([])
    skipping.transforms = lambda results: None
    assert skipping(make()) is None


@pytest.mark.parametrize('wrapper', [VisibleOnly([]), ForEachModality(dict(type='mmdet.Expand'))], ids=['vi', 'each'])
def test_wrappers_refuse_what_is_no_pair(wrapper):
    with pytest.raises(ValueError, match=rf'{type(wrapper).__name__}: 0\.png came as an array of shape \(41, 52, 3\)'):
        wrapper(part(make(), 'vi'))


THREE_CHANNELS = [
    ('mmdet', dict(type='mmdet.RandomAffine', border=(-5, -3))),
    ('mmdet', dict(type='mmdet.RandomAffine', border_val=(10, 20, 30))),
    ('mmdet', dict(type='mmdet.Expand', mean=(103, 116, 123), prob=0.8)),
    ('mmdet', dict(type='mmdet.CutOut', n_holes=(1, 4), cutout_shape=(9, 7), fill_in=(5, 6, 7))),
    ('mmdet', dict(type='mmdet.Pad', size=(80, 64), pad_val=dict(img=(114, 115, 116)))),
    ('mmdet', dict(type='mmdet.Rotate', prob=1.0, level=7, img_border_value=(5.0, 6.0, 7.0))),
    ('mmdet', dict(type='mmdet.ShearX', prob=1.0, level=7)),
    ('mmdet', dict(type='mmdet.ShearY', prob=1.0, level=7)),
    ('mmdet', dict(type='mmdet.TranslateX', prob=1.0, level=10)),
    ('mmdet', dict(type='mmdet.TranslateY', prob=1.0, level=10)),
    ('mmseg', dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=3, cutout_shape=(9, 7), seg_fill_in=255)),
    ('mmseg', dict(type='mmseg.RandomRotate', prob=1.0, degree=30, pad_val=114)),
    ('mmseg', dict(type='mmseg.Resize', scale=(90, 70), backend='pillow')),
]
MIXING = [
    (3, dict(type='mmdet.Mosaic', img_scale=(48, 40), pad_val=114.0, prob=0.8)),
    (1, dict(type='mmdet.MixUp', img_scale=(48, 40), ratio_range=(0.8, 1.6), pad_val=114.0)),
    (3, dict(type='mmseg.RandomMosaic', prob=1.0, img_scale=(40, 48), pad_val=7)),
]


def check_wrapped(cfg, results, seeds):
    changed, wrapped, stock = False, ForEachModality(cfg), TRANSFORMS.build(cfg)
    for seed in seeds:
        both = run(wrapped, copied(results), seed)
        state = np.random.get_state()[1:3], random.getstate()
        vi, ir = (run(stock, copied(part(results, m)), seed) for m in ('vi', 'ir'))
        np.testing.assert_array_equal(both['img'][..., :3], vi['img'])
        np.testing.assert_array_equal(both['img'][..., 3], ir['img'][..., 0])
        assert both['img'].dtype == vi['img'].dtype == np.uint8
        assert_annotations_equal(both, vi)
        # What comes after draws the numbers that it would draw in the stock pipeline.
        np.testing.assert_equal((np.random.get_state()[1:3], random.getstate()), state)
        changed |= both['img'].shape != results['img'].shape or (both['img'] != results['img']).any()
    assert changed


@pytest.mark.parametrize(('library', 'cfg'), THREE_CHANNELS, ids=lambda v: v['type'] if isinstance(v, dict) else '')
def test_for_each_modality(library, cfg):
    check_wrapped(cfg, make(library=library), range(4))


@pytest.mark.parametrize(('num', 'cfg'), MIXING, ids=lambda v: v['type'] if isinstance(v, dict) else '')
def test_for_each_modality_mixes_pairs(num, cfg):
    library = cfg['type'].partition('.')[0]
    results = make(library=library)
    results['mix_results'] = [make(k, library) for k in range(1, num + 1)]
    check_wrapped(cfg, results, range(6))


@pytest.mark.parametrize('kind', ['CachedMosaic', 'CachedMixUp'])
@pytest.mark.parametrize('random_pop', [True, False])
def test_for_each_modality_keeps_caches_in_step(kind, random_pop):
    cfg = dict(type=f'mmdet.{kind}', img_scale=(48, 40), max_cached_images=6, random_pop=random_pop, prob=0.9)
    wrapped, vi, ir = ForEachModality(cfg), TRANSFORMS.build(cfg), TRANSFORMS.build(cfg)
    mixed = 0
    for step in range(14):
        results = make(step % 9)
        both = run(wrapped, copied(results), step)
        a, b = (run(t, copied(part(results, m)), step) for t, m in ((vi, 'vi'), (ir, 'ir')))
        np.testing.assert_array_equal(both['img'], np.dstack([a['img'], b['img'][..., 0]]))
        assert_annotations_equal(both, a)
        mixed += not np.array_equal(both['img'], results['img'])
    assert mixed >= 6


@pytest.mark.parametrize(
    ('cfg', 'name'),
    [
        (dict(type='mmdet.Mosaic'), 'get_indexes'),
        (dict(type='mmdet.MixUp'), 'get_indexes'),
        (dict(type='mmseg.RandomMosaic', prob=1.0), 'get_indices'),
    ],
)
def test_what_to_mix_in_is_asked_as_of_the_stock_transform(cfg, name):
    dataset = [make(k) for k in range(9)]
    np.random.seed(3)
    wrapped, stock = pickle.loads(pickle.dumps(ForEachModality(cfg))), TRANSFORMS.build(cfg)  # as sent to a worker
    ours = getattr(wrapped, name)(dataset)
    np.random.seed(3)
    assert ours == getattr(stock, name)(dataset)
    assert not hasattr(ForEachModality(dict(type='mmdet.Expand')), name)


def test_for_each_modality_notices_randomness_of_its_own():
    wrapped = ForEachModality(dict(type='mmdet.Expand'))
    sizes = iter((10, 11))
    wrapped.vi = wrapped.ir = lambda results: dict(results, img=results['img'][: next(sizes)])
    with pytest.raises(ValueError, match=r'gave \(10, 52, 3\) for the visible and \(11, 52, 3\) for the infrared'):
        wrapped(make())


def test_for_each_modality_hands_on_a_skipped_sample():
    wrapped = ForEachModality(dict(type='mmdet.Expand'))
    wrapped.vi = wrapped.ir = lambda results: None
    assert wrapped(make()) is None


# Each of these gives a wrong image of four channels, or leaves it as it is, without a word: see adapt_pipeline.
AS_IT_WAS = 'unchanged'
FILLED = [114, 0, 0, 0]


@pytest.mark.parametrize(
    ('cfg', 'wrong'),
    [
        (dict(type='mmdet.YOLOXHSVRandomAug'), AS_IT_WAS),
        (dict(type='mmdet.RandomAffine', max_translate_ratio=0.4), [114, 114, 114, 0]),
        (dict(type='mmdet.Pad', size=(80, 80), pad_val=dict(img=114.0)), FILLED),
        (dict(type='mmseg.RandomRotate', prob=1.0, degree=(40.0, 45.0), pad_val=114), FILLED),
    ],
    ids=lambda v: v['type'] if isinstance(v, dict) else '',
)
def test_why_the_wrappers_are_needed(cfg, wrong):
    results = make()
    transform = TRANSFORMS.build(cfg)
    got = [run(transform, copied(results), seed)['img'] for seed in range(8)]
    if wrong == AS_IT_WAS:
        assert all((img == results['img']).all() for img in got)
    else:
        assert any(img[-1, -1].tolist() == wrong for img in got)
