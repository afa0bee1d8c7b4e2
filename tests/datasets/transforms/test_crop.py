"""ForegroundCrop: every patch holds a salient pixel, and all that belongs together is cut alike."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmfusion.datasets import FusionDataset
from mmfusion.datasets.transforms import ForegroundCrop
from mmfusion.registry import DATA_SAMPLERS
from mmfusion.utils import write_image

PIPELINE = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmfusion.ForegroundCrop', crop_size=(6, 6)),
    dict(type='mmfusion.PackFusionInputs'),
]


def sample(shape=(20, 30), vi=(), ir=()):
    """A pair whose pixels say where they are (row, column), with the given salient pixels."""
    rows, cols = np.indices(shape).astype(np.uint8)
    masks = {}
    for name, points in (('gt_mask_vi', vi), ('gt_mask_ir', ir)):
        masks[name] = np.zeros(shape, np.uint8)
        for point in points:
            masks[name][point] = 1
    return dict(
        img=np.dstack([rows, cols, rows, cols]), img_path='a.png', seg_fields=['gt_mask_vi', 'gt_mask_ir'], **masks
    )


def corner(results):
    return tuple(results['img'][0, 0, :2].tolist())


def test_every_patch_holds_a_salient_pixel_and_is_cut_alike():
    np.random.seed(0)
    crop = ForegroundCrop(crop_size=(5, 8))
    for _ in range(200):
        whole = sample(vi=[(0, 0), (3, 17)], ir=[(19, 29)])
        before = {key: whole[key].copy() for key in ('img', 'gt_mask_vi', 'gt_mask_ir')}
        cut = crop(whole)
        assert cut['img'].shape == (5, 8, 4)
        assert cut['img_shape'] == (5, 8)
        assert (cut['gt_mask_vi'] | cut['gt_mask_ir']).any()
        top, left = corner(cut)
        for key, array in before.items():
            np.testing.assert_array_equal(cut[key], array[top : top + 5, left : left + 8])


def test_each_place_around_one_pixel_is_as_likely():
    np.random.seed(1)
    crop = ForegroundCrop(crop_size=(3, 4))
    corners = [corner(crop(sample(ir=[(10, 15)]))) for _ in range(2400)]
    counts = np.unique(corners, axis=0, return_counts=True)
    assert {tuple(c) for c in counts[0].tolist()} == {(r, c) for r in range(8, 11) for c in range(12, 16)}
    # χ² over 12 places of 200 expected each: 11 degrees of freedom, 99.9 % of draws lie below 31.3.
    assert ((counts[1] - 200) ** 2 / 200).sum() < 31.3


def test_each_salient_pixel_is_as_likely():
    # One pixel in either mask and one in both: three pixels, so each is drawn a third of the time.
    np.random.seed(2)
    points = [(2, 2), (10, 20), (18, 5)]
    crop = ForegroundCrop(crop_size=(1, 1))
    corners = [corner(crop(sample(vi=points[:2], ir=points[1:]))) for _ in range(900)]
    drawn = [corners.count(p) for p in points]
    assert sum(drawn) == 900
    assert ((np.array(drawn) - 300) ** 2 / 300).sum() < 13.8  # χ², 2 degrees of freedom, 99.9 %


def test_padding_is_no_object():
    whole = sample(vi=[(4, 4)])
    whole['gt_mask_vi'][:, 10:] = 255  # as mmseg.RandomRotate fills maps
    crop = ForegroundCrop(crop_size=(2, 2))
    for seed in range(20):
        np.random.seed(seed)
        assert (crop({k: v.copy() if k != 'img_path' else v for k, v in whole.items()})['gt_mask_vi'] == 1).any()


@pytest.mark.parametrize('shape', [(3, 30), (20, 2), (1, 1), (3, 2)])
def test_small_images_are_extended_by_reflection(shape):
    cut = ForegroundCrop(crop_size=(8, 8))(sample(shape, vi=[(shape[0] - 1, shape[1] - 1)]))
    assert cut['img'].shape == (8, 8, 4)
    assert cut['gt_mask_vi'].shape == cut['gt_mask_ir'].shape == (8, 8)
    assert cut['gt_mask_vi'].any()
    top = corner(cut)[0]
    inside = cut['img'][: shape[0], : shape[1]]
    np.testing.assert_array_equal(inside[..., 0], top + np.indices(inside.shape[:2])[0])
    if shape[0] == 3:  # rows 0 1 2 1 0 1 2 1
        np.testing.assert_array_equal(cut['img'][:, 0, 0], [0, 1, 2, 1, 0, 1, 2, 1])


def test_exact_size_is_the_whole_image():
    np.testing.assert_array_equal(ForegroundCrop((20, 30))(sample(vi=[(19, 0)]))['img'], sample()['img'])


def test_no_salient_pixel():
    with pytest.raises(ValueError, match=r"a\.png: neither mask has a salient pixel.*empty='random'"):
        ForegroundCrop((4, 4), empty='error')(sample())
    assert ForegroundCrop((4, 4), empty='random')(sample())['img'].shape == (4, 4, 4)
    with pytest.warns(UserWarning, match=r'a\.png: neither mask has a salient pixel; another pair takes its place'):
        assert ForegroundCrop((4, 4))(sample()) is None
    with pytest.raises(ValueError, match="empty must be 'skip', 'random' or 'error', got 'centre'"):
        ForegroundCrop(empty='centre')


@pytest.mark.filterwarnings('ignore:.*another pair takes its place')
def test_too_many_skips_in_a_row_are_an_error():
    crop = ForegroundCrop((4, 4), max_skips=3)
    assert crop(sample()) is None
    assert crop(sample()) is None
    assert crop(sample(vi=[(1, 1)])) is not None  # one that fits starts the count anew
    assert crop(sample()) is None
    assert crop(sample()) is None
    with pytest.raises(ValueError, match=r'neither mask has a salient pixel, like the 2 pairs before.*mmfusion masks'):
        crop(sample())


def test_refuses_boxes():
    boxes = HorizontalBoxes(np.array([[0, 0, 3, 3]], np.float32))
    with pytest.raises(ValueError, match=r'does not cut boxes; use mmdet\.RandomCrop'):
        ForegroundCrop((4, 4))(dict(sample(vi=[(1, 1)]), gt_bboxes=boxes))


def test_uniform_patches_do_not_favour_the_middle_of_objects():
    """Every place that holds a salient pixel is as likely; around a drawn pixel those with many of them are more so."""
    size, thing = 20, [(r, c) for r in range(20) for c in range(20)]
    rows = {}
    for draw in ('pixel', 'patch'):
        np.random.seed(0)
        crop = ForegroundCrop((size, size), draw=draw, attempts=1000)
        rows[draw] = np.array([corner(crop(sample((60, 40), vi=thing)))[0] for _ in range(400)])
        assert rows[draw].max() < 20
    # Rows 0 … 19 have a mean of 9.5, that of 400 a deviation of 0.29.
    assert abs(rows['patch'].mean() - 9.5) < 1.2
    assert rows['pixel'].mean() < 8


def test_uniform_patches_give_up():
    np.random.seed(0)
    crop = ForegroundCrop((2, 2), draw='patch', attempts=3)
    with pytest.warns(UserWarning, match='neither mask has a salient pixel in 3 random patches; another pair'):
        assert crop(sample(vi=[(19, 29)])) is None
    assert ForegroundCrop((2, 2), draw='patch', attempts=3, empty='random')(sample())['img'].shape == (2, 2, 4)
    small = ForegroundCrop((30, 40), draw='patch')(sample(vi=[(0, 0)]))
    assert small['img'].shape[:2] == small['gt_mask_vi'].shape == (30, 40)
    with pytest.raises(ValueError, match="draw must be 'pixel' or 'patch', got 'any'"):
        ForegroundCrop(draw='any')


@pytest.fixture
def folder(tmp_path):
    """Three pairs with masks; the second has none that is salient."""
    for k, stem in enumerate('abc'):
        s = sample((24, 24), vi=[(5, 5)] if k != 1 else (), ir=[(20, 8)] if k != 1 else ())
        write_image(tmp_path / 'vi' / f'{stem}.png', s['img'][..., :3] + k)
        write_image(tmp_path / 'ir' / f'{stem}.png', s['img'][..., 3] + k)
        for m in ('vi', 'ir'):
            write_image(tmp_path / f'mask_{m}' / f'mask_{stem}.png', s[f'gt_mask_{m}'] * 255)
    return tmp_path


def dataset(folder, masks=True, **kwargs):
    prefix = {'vi_path': 'vi', 'ir_path': 'ir'}
    if masks:
        prefix.update(mask_vi_path='mask_vi', mask_ir_path='mask_ir')
    return FusionDataset(data_root=str(folder), data_prefix=prefix, pipeline=PIPELINE, **kwargs)


@pytest.mark.filterwarnings('ignore:.*another pair takes its place')
def test_reproducible_by_epoch_whatever_came_before(folder):
    first, second = dataset(folder), dataset(folder)
    for d in (first, second):
        d.set_epoch(7, 3)
    np.random.seed(11)
    forth = [first[i]['inputs'].numpy() for i in range(3)]
    np.random.seed(12)
    back = [second[i]['inputs'].numpy() for i in (2, 1, 0)][::-1]
    for a, b in zip(forth, back, strict=True):
        np.testing.assert_array_equal(a, b)
    first.set_epoch(7, 4)
    assert any((first[i]['inputs'].numpy() != forth[i]).any() for i in (0, 2))


def test_a_pair_without_objects_is_replaced_with_a_warning(folder):
    with pytest.warns(UserWarning, match=r'b\.png: neither mask has a salient pixel; another pair'):
        got = dataset(folder)[1]
    assert got['data_samples'].img_id in ('a', 'c')
    assert (got['data_samples'].gt_saliency.vi | got['data_samples'].gt_saliency.ir).any()


def test_pairs_without_objects_are_left_out_from_the_start(folder):
    data = dataset(folder, filter_cfg=dict(empty_masks=True))
    assert [data.get_data_info(i)['img_id'] for i in range(len(data))] == ['a', 'c']
    with pytest.raises(
        ValueError, match='filter_cfg has empty_masks=True, and data_prefix no mask_vi_path and no mask_ir'
    ):
        dataset(folder, masks=False, filter_cfg=dict(empty_masks=True))
    for stem in 'ac':
        for m in ('vi', 'ir'):
            write_image(folder / f'mask_{m}' / f'mask_{stem}.png', np.zeros((24, 24), np.uint8))
    with pytest.raises(ValueError, match=r'mask_vi: all 3 pairs have two empty masks.*mmfusion masks'):
        dataset(folder, filter_cfg=dict(empty_masks=True))


@pytest.mark.filterwarnings('ignore:.*another pair takes its place')
def test_patches_of_an_image_follow_each_other(folder):
    """Each image twice in turn, cut at two places, the same in each run."""
    data = dataset(folder, filter_cfg=dict(empty_masks=True))
    sampler = DATA_SAMPLERS.build(
        dict(type='mmfusion.PatchSampler', repeats=2, seed=3), default_args=dict(dataset=data)
    )
    order = list(sampler)
    assert len(sampler) == len(order) == 4
    assert [index for index, _ in order[::2]] == [index for index, _ in order[1::2]]
    assert {index for index, _ in order} == {0, 1}
    assert [repetition for _, repetition in order] == [0, 1, 0, 1]
    runs = []
    for _ in range(2):
        data.set_epoch(7, 3)
        batches = torch.utils.data.DataLoader(data, batch_size=2, sampler=sampler, collate_fn=list)
        runs.append([[item['inputs'] for item in batch] for batch in batches])
    for first, second in runs[0]:
        assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for x, y in zip(*runs, strict=True) for a, b in zip(x, y, strict=True))
    assert torch.equal(data[order[0][0]]['inputs'], data[order[0]]['inputs'])  # the first is that of the bare index
