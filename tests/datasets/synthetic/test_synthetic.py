"""The synthetic scenes: deterministic, exact in their labels, and made so that either camera misses something."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmfusion.datasets import SyntheticDataset, render_scene
from mmfusion.datasets.synthetic import BOX_CLASSES, cached_scene, render, scene_name
from mmfusion.datasets.synthetic.scene import CLASSES, Camera, Canvas, compose_scene, sense_infrared, sense_visible
from mmfusion.datasets.synthetic.scene.canvas import noise
from mmfusion.datasets.synthetic.scene.objects import paint_car, paint_person
from mmfusion.registry import DATASETS, TRANSFORMS

SIZE = (120, 160)


@pytest.fixture(scope='module')
def scenes():
    """Forty small scenes, half of them at night."""
    return [render_scene(1, index, (180, 240)) for index in range(40)]


def test_shapes_and_types():
    scene = render_scene(0, 1, (97, 131))
    assert scene.vi.shape == (97, 131, 3)
    assert scene.vi.dtype == np.uint8
    for name in ('ir', 'seg_map', 'mask_vi', 'mask_ir'):
        array = getattr(scene, name)
        assert array.shape == (97, 131), name
        assert array.dtype == np.uint8, name
    assert scene.bboxes.dtype == np.float32
    assert scene.bboxes.shape == (len(scene.labels), 4)
    assert scene.labels.dtype == np.int64
    assert scene.name == '00001N'
    assert scene.night is True
    assert scene_name(1, 1) == '00001D'


def test_deterministic():
    first, again = render_scene(3, 5, SIZE), render_scene(3, 5, SIZE)
    for name in ('vi', 'ir', 'seg_map', 'mask_vi', 'mask_ir', 'bboxes', 'labels'):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.parametrize('other', [(3, 6), (4, 5)])
def test_seed_and_index_matter(other):
    assert (render_scene(3, 5, SIZE).vi != render_scene(*other, SIZE).vi).mean() > 0.5


def test_numpy_global_state_is_neither_used_nor_changed():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = render_scene(0, 0, SIZE)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(1)
    np.testing.assert_array_equal(first.vi, render_scene(0, 0, SIZE).vi)


def test_same_layout_at_any_size():
    """The layout is drawn in metres, so a scene of twice the size has the same objects in the same places."""
    small, large = render_scene(2, 4, (240, 320)), render_scene(2, 4, (480, 640))
    shrunk = large.seg_map[::2, ::2]
    assert (shrunk == small.seg_map).mean() > 0.97


@pytest.mark.parametrize(('args', 'message'), [
    ((-1, 0), 'must not be negative'),
    ((0, -1), 'must not be negative'),
    ((0, 0, (16, 64)), 'at least 32×32'),
])  # fmt: skip
def test_refuses_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        render_scene(*args)


def test_annotations_agree(scenes):
    """Masks and boxes lie on persons and cars of the label map, and boxes are tight around labelled pixels."""
    objects = [CLASSES.index(name) for name in BOX_CLASSES]
    for scene in scenes:
        assert scene.seg_map.max() < len(CLASSES)
        salient = np.isin(scene.seg_map, objects)
        assert not (scene.mask_vi.astype(bool) & ~salient).any()
        assert not (scene.mask_ir.astype(bool) & ~salient).any()
        for (x1, y1, x2, y2), label in zip(scene.bboxes.astype(int), scene.labels, strict=True):
            assert 0 <= x1 < x2 <= 240
            assert 0 <= y1 < y2 <= 180
            inside = scene.seg_map[y1:y2, x1:x2] == CLASSES.index(BOX_CLASSES[label])
            for border in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert border.any()


def test_every_salient_pixel_lies_in_a_box(scenes):
    """But for slivers that are too small for a box, boxes cover the persons and cars."""
    missed = total = 0
    for scene in scenes:
        covered = np.zeros(scene.seg_map.shape, bool)
        for x1, y1, x2, y2 in scene.bboxes.astype(int):
            covered[y1:y2, x1:x2] = True
        salient = np.isin(scene.seg_map, [CLASSES.index(name) for name in BOX_CLASSES])
        missed += (salient & ~covered).sum()
        total += salient.sum()
    assert missed < 0.01 * total


def test_neither_camera_sees_everything(scenes):
    """Shared, visible-only and infrared-only objects are all common over a set, and all classes occur."""
    shared = [(s.mask_vi & s.mask_ir).any() for s in scenes]
    only_vi = [(s.mask_vi > s.mask_ir).any() for s in scenes]
    only_ir = [(s.mask_ir > s.mask_vi).any() for s in scenes]
    assert np.mean(shared) > 0.5
    assert np.mean(only_vi) > 0.3
    assert np.mean(only_ir) > 0.5
    pixels = np.bincount(np.concatenate([s.seg_map.ravel() for s in scenes]), minlength=len(CLASSES))
    assert (pixels / pixels.sum() > 0.005).all()


def test_night_and_day(scenes):
    """Nights are dark in the visible image alone; persons are warmer than what is around them."""
    vi = {night: np.mean([s.vi.mean() for s in scenes if s.night == night]) for night in (True, False)}
    ir = {night: np.mean([s.ir.mean() for s in scenes if s.night == night]) for night in (True, False)}
    assert vi[True] < 0.6 * vi[False]
    assert ir[True] > 0.5 * ir[False]
    persons = np.concatenate([s.ir[s.seg_map == CLASSES.index('person')] for s in scenes if s.night])
    roads = np.concatenate([s.ir[s.seg_map == CLASSES.index('road')] for s in scenes if s.night])
    assert persons.mean() > roads.mean() + 50


def test_lamps_dazzle_the_visible_camera_only(scenes):
    """Around lit lamps the visible image is saturated, the infrared one is not."""
    bright_vi = max((s.vi.min(2) >= 250).mean() for s in scenes if s.night)
    bright_ir = max((s.ir >= 250).mean() for s in scenes if s.night)
    assert bright_vi > 0.003
    assert bright_ir < 0.002


def test_contrast_is_the_difference_that_the_object_makes():
    """A person and a warm car change the infrared image where they are; one painted with nothing changes nothing."""
    canvas, camera, scene = compose_scene(1, 3, SIZE)
    smoke = np.zeros(SIZE, np.float32)
    for sense in (sense_visible, sense_infrared):
        args = (canvas, camera, scene, smoke) if sense is sense_visible else (canvas, scene, smoke)
        image, contrast = sense(*args, np.random.default_rng(0))
        assert image.shape[:2] == contrast.shape == SIZE
        assert (contrast[canvas.instance == 0] == 0).all()
        assert contrast[canvas.instance > 0].mean() > 5
    for name, values in canvas.backdrop.items():
        getattr(canvas, name)[:] = values
    for sense, args in ((sense_visible, (canvas, camera, scene, smoke)), (sense_infrared, (canvas, scene, smoke))):
        # What is left is the texture that lies on the painted surfaces.
        assert sense(*args, np.random.default_rng(0))[1].mean() < 0.5


def test_smoke_hides_from_the_visible_camera_only():
    canvas, camera, scene = compose_scene(1, 2, SIZE)
    objects = canvas.instance > 0
    contrasts = {}
    for opacity in (0.0, 0.95):
        smoke = np.full(SIZE, opacity, np.float32)
        vi = sense_visible(canvas, camera, scene, smoke, np.random.default_rng(0))[1][objects].mean()
        ir = sense_infrared(canvas, scene, smoke, np.random.default_rng(0))[1][objects].mean()
        contrasts[opacity] = vi, ir
    assert contrasts[0.95][0] < 0.2 * contrasts[0.0][0]
    assert contrasts[0.95][1] > 0.8 * contrasts[0.0][1]


def test_a_parked_car_hides_who_walks_behind_it():
    """Its temperature is that of the street behind it, not that of a person painted before it."""
    canvas, camera, scene = compose_scene(0, 0, SIZE)
    item = SimpleNamespace(x=0.0, z=8.0, tall=1.8, phase=0.0, facing=0, dark=True, kind=0, bag=False, insulation=0.9)
    paint_person(canvas, camera, SimpleNamespace(**vars(item) | dict(z=20.0)), scene.weather, 100)
    car = SimpleNamespace(x=0.0, z=8.0, width=1.8, length=4.2, roof=1.5, oncoming=False, warm=False, lights=False,
                          sheen=0.0, kind=0, offset=0.1)  # fmt: skip
    paint_car(canvas, camera, car, scene.weather, 101)
    mask = canvas.instance == 101
    np.testing.assert_allclose(canvas.temp[mask], canvas.backdrop['temp'][mask] + 0.1, rtol=1e-6)


def test_camera_projects_by_hand():
    camera = Camera(focal=500, centre=320, horizon=200, height=2)
    np.testing.assert_allclose(camera.project([0, 2, 10]), [320, 200])
    np.testing.assert_allclose(camera.project([[1, 0, 10], [-2, 2, 5]]), [[370, 300], [120, 200]])
    assert camera.scale(10) == 50


def test_noise_is_normalised_and_wraps():
    field = noise((64, 96), np.random.default_rng(0), octaves=4, base=3)
    assert field.shape == (64, 96)
    assert field.dtype == np.float32
    assert np.abs(field).max() == pytest.approx(1, abs=1e-5)
    assert field.mean() == pytest.approx(0, abs=1e-3)
    tile = Canvas((32, 32), np.random.default_rng(0)).tile
    steps = np.abs(np.diff(tile, axis=1)).mean(), np.abs(tile[:, 0] - tile[:, -1]).mean()
    assert steps[1] < 3 * steps[0]


def test_dataset_is_registered_and_counts_on():
    dataset = DATASETS.build(dict(type='mmfusion.SyntheticDataset', num=3, seed=2, size=SIZE, start=7, pipeline=[]))
    assert len(dataset) == 3
    info = dataset.get_data_info(1)
    assert info['img_id'] == '00008D'
    assert info['synthetic'] == dict(seed=2, index=8, size=SIZE)
    assert info['num_classes'] == len(CLASSES)
    assert dataset.metainfo['classes'] == CLASSES
    assert SyntheticDataset(num=1, task='det').metainfo['classes'] == BOX_CLASSES


@pytest.mark.parametrize(('kwargs', 'message'), [(dict(num=0), 'at least one scene'), (dict(task='pose'), 'task must')])
def test_dataset_refuses_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SyntheticDataset(**kwargs)


def build_sample(**kwargs):
    pipeline = [dict(type='mmfusion.RenderSyntheticPair', **kwargs)]
    return SyntheticDataset(num=2, seed=0, size=SIZE, pipeline=pipeline)[1]


def test_transform_fills_what_the_loaders_fill():
    scene, results = render_scene(0, 1, SIZE), build_sample()
    np.testing.assert_array_equal(results['img'][..., :3], scene.vi)
    np.testing.assert_array_equal(results['img'][..., 3], scene.ir)
    assert results['img_shape'] == results['ori_shape'] == SIZE
    assert results['seg_fields'] == ['gt_mask_vi', 'gt_mask_ir', 'gt_seg_map']
    for key, name in (('gt_seg_map', 'seg_map'), ('gt_mask_vi', 'mask_vi'), ('gt_mask_ir', 'mask_ir')):
        np.testing.assert_array_equal(results[key], getattr(scene, name))
    np.testing.assert_array_equal(results['gt_bboxes'].tensor.numpy(), scene.bboxes)
    np.testing.assert_array_equal(results['gt_bboxes_labels'], scene.labels)
    assert results['gt_ignore_flags'].shape == scene.labels.shape
    assert not results['gt_ignore_flags'].any()


def test_transform_leaves_out_what_is_not_asked_for():
    results = build_sample(with_masks=False, with_seg=False, with_bbox=False)
    assert results['seg_fields'] == []
    assert not {'gt_mask_vi', 'gt_seg_map', 'gt_bboxes'} & results.keys()
    assert isinstance(build_sample(box_type='array')['gt_bboxes'], np.ndarray)


def test_transform_errors():
    with pytest.raises(ValueError, match='box_type'):
        TRANSFORMS.build(dict(type='RenderSyntheticPair', box_type='xywh'))
    with pytest.raises(KeyError, match=r"a\.png: no key 'synthetic'"):
        TRANSFORMS.build(dict(type='RenderSyntheticPair'))(dict(img_path='a.png'))


def test_a_kept_scene_is_the_rendered_one(tmp_path, monkeypatch):
    for index in (1, 2):
        first = cached_scene(tmp_path, 0, index, SIZE)
        with monkeypatch.context() as patch:
            patch.setattr(render, 'render_scene', None)
            again = cached_scene(tmp_path, 0, index, SIZE)
        for scene in (first, again):
            rendered = render_scene(0, index, SIZE)
            for name, value in vars(rendered).items():
                np.testing.assert_array_equal(getattr(scene, name), value, err_msg=name)
                assert type(getattr(scene, name)) is type(value)
    kept = build_sample(cache_dir=str(tmp_path))
    np.testing.assert_array_equal(kept['img'], build_sample()['img'])
    # One file for each scene, seed and size, under the version of the generator; nothing half-written beside them.
    assert len(list(tmp_path.rglob('*.*'))) == 2
    cached_scene(tmp_path, 1, 1, SIZE)
    cached_scene(tmp_path, 0, 1, (60, 80))
    assert len(list((tmp_path / render.generator_version()).iterdir())) == 4


def test_a_broken_kept_scene_is_named(tmp_path):
    cached_scene(tmp_path, 0, 1, SIZE)
    (file,) = tmp_path.rglob('*.npz')
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf'{file.name}: no rendered scene .*Delete the file'):
        cached_scene(tmp_path, 0, 1, SIZE)


def test_a_flip_moves_image_labels_masks_and_boxes_alike():
    """The stock flips of mmseg (maps) and mmdet (boxes) on a rendered sample, against flipping by hand."""
    plain = build_sample()
    flip = TRANSFORMS.build(dict(type='mmseg.RandomFlip', prob=1.0))
    flipped = flip(build_sample(with_bbox=False))
    for key in ('img', 'gt_seg_map', 'gt_mask_vi', 'gt_mask_ir'):
        np.testing.assert_array_equal(flipped[key], plain[key][:, ::-1])
    flipped = TRANSFORMS.build(dict(type='mmdet.RandomFlip', prob=1.0))(build_sample(with_masks=False))
    x1, y1, x2, y2 = plain['gt_bboxes'].tensor.T
    expected = np.stack([SIZE[1] - x2, y1, SIZE[1] - x1, y2], 1)
    np.testing.assert_allclose(flipped['gt_bboxes'].tensor.numpy(), expected)
