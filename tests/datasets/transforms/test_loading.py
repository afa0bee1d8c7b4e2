"""Pairs and masks from files of every kind, through the dataset to the packed tensor."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mmfusion.datasets import FusionDataset
from mmfusion.datasets.transforms.loading import LoadImagePair, LoadSaliencyMasks, stack_pair
from mmfusion.utils import ImageReadError, write_image

PIPELINE = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]
EXIF_ORIENTATION = 0x0112


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def packed(root, vi, ir, suffix=('.png', '.png'), load=PIPELINE[0], **save):
    """Save two PIL images as the only pair of a dataset and pack it: H×W×4 (B, G, R, IR), and the data sample."""
    for name, img, end in (('vi', vi, suffix[0]), ('ir', ir, suffix[1])):
        (root / name).mkdir(exist_ok=True)
        img.save(root / name / f'a{end}', **(save if name == 'vi' else {}))
    sample = FusionDataset(data_root=str(root), pipeline=[load, PIPELINE[1]])[0]
    return sample['inputs'].numpy().transpose(1, 2, 0), sample['data_samples']


def test_order_of_channels_and_meta(tmp_path, rgb):
    pair, sample = packed(tmp_path, Image.fromarray(rgb), Image.fromarray(rgb[..., 0]))
    np.testing.assert_array_equal(pair[..., :3], rgb[..., ::-1])
    np.testing.assert_array_equal(pair[..., 3], rgb[..., 0])
    np.testing.assert_array_equal(pair[..., :3], cv2.imread(str(tmp_path / 'vi' / 'a.png')))
    assert sample.metainfo['ori_shape'] == sample.metainfo['img_shape'] == (5, 7)
    assert sample.metainfo['ir_path'] == str(tmp_path / 'ir' / 'a.png')


def test_grey_visible_and_colour_infrared(tmp_path, rgb):
    grey = rgb[..., 0]
    pair, _ = packed(tmp_path, Image.fromarray(grey), Image.fromarray(rgb))
    np.testing.assert_array_equal(pair[..., :3], np.repeat(grey[..., None], 3, 2))
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pair[..., 3] - luma).max() <= 0.51  # PIL rounds in fixed point


@pytest.mark.parametrize('which', ['vi', 'ir'])
def test_sixteen_bits(tmp_path, rgb, which):
    values = rgb[..., 0].astype(np.uint16) * 257
    other = 255 - rgb[..., 0]  # a copy of the visible image would be refused
    files = dict(vi=Image.fromarray(rgb), ir=Image.fromarray(other))
    files[which] = Image.fromarray(values)
    pair, _ = packed(tmp_path, files['vi'], files['ir'])
    np.testing.assert_array_equal(pair[..., 3], rgb[..., 0] if which == 'ir' else other)
    np.testing.assert_array_equal(pair[..., 0], rgb[..., 0] if which == 'vi' else rgb[..., 2])


def test_raw_thermal_data_is_stretched(tmp_path, rgb):
    raw = np.linspace(7000, 7100, 35).reshape(5, 7).astype(np.uint16)  # kelvin × 25 or the like
    load = dict(type='mmfusion.LoadImagePair', depth16='stretch')
    pair, _ = packed(tmp_path, Image.fromarray(rgb), Image.fromarray(raw), load=load)
    assert pair[0, 0, 3] == 0
    assert pair[-1, -1, 3] == 255
    assert (np.diff(pair[..., 3].reshape(-1).astype(int)) >= 0).all()
    with pytest.warns(UserWarning, match=r"a\.png: a 16-bit image whose highest value is 7100.*depth16='stretch'"):
        packed(tmp_path, Image.fromarray(rgb), Image.fromarray(raw))


def test_palette(tmp_path, rgb):
    few = (rgb // 128) * 255  # at most 8 colours, so that a palette holds them exactly
    image = Image.fromarray(few).convert('P', palette=Image.Palette.ADAPTIVE, colors=8)
    pair, _ = packed(tmp_path, image, ImageOps.invert(image.convert('L')).convert('P'))
    np.testing.assert_array_equal(pair[..., :3], few[..., ::-1])


def test_transparency_is_dropped(tmp_path, rgb):
    clear = Image.fromarray(np.dstack([rgb, np.zeros((5, 7), np.uint8)]))
    pair, _ = packed(tmp_path, clear, Image.fromarray(rgb[..., 0]))
    np.testing.assert_array_equal(pair, np.dstack([rgb[..., ::-1], rgb[..., 0]]))


@pytest.mark.parametrize(('orientation', 'turned'), [(6, lambda a: np.rot90(a, -1)), (3, lambda a: a[::-1, ::-1])])
def test_exif_rotation_is_applied(tmp_path, rgb, orientation, turned):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    upright = np.ascontiguousarray(turned(rgb))
    pair, sample = packed(tmp_path, Image.fromarray(rgb), Image.fromarray(upright[..., 0]), exif=exif)
    np.testing.assert_array_equal(pair, np.dstack([upright[..., ::-1], upright[..., 0]]))
    assert sample.metainfo['ori_shape'] == upright.shape[:2]


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (13, 3)])
def test_tiny_and_odd_sizes(tmp_path, shape):
    ones = np.full((*shape, 3), 9, np.uint8)
    pair, _ = packed(tmp_path, Image.fromarray(ones), Image.fromarray(ones[..., 0]), suffix=('.bmp', '.tif'))
    np.testing.assert_array_equal(pair, np.full((*shape, 4), 9))


@pytest.mark.parametrize(
    ('name', 'data', 'message'),
    [
        ('vi', b'', r'vi.a\.png: cannot be read as an image'),
        ('ir', b'not an image', r'ir.a\.png: cannot be read as an image .*together with its counterpart'),
        ('ir', None, r'ir.a\.png: no such file'),
    ],
)
def test_unreadable_file_is_named(tmp_path, rgb, name, data, message):
    for folder in ('vi', 'ir'):
        write_image(tmp_path / folder / 'a.png', rgb)
    dataset = FusionDataset(data_root=str(tmp_path), pipeline=PIPELINE, lazy_init=False)
    file = tmp_path / name / 'a.png'
    if data is None:
        file.unlink()  # between the listing and the reading
    else:
        file.write_bytes(data)
    with pytest.raises(ImageReadError, match=message):
        dataset[0]


def test_a_bad_file_is_not_replaced_by_another_pair(tmp_path, rgb):
    for folder in ('vi', 'ir'):
        for stem in 'ab':
            write_image(tmp_path / folder / f'{stem}.png', rgb if folder == 'vi' else 255 - rgb)
    png = (tmp_path / 'vi' / 'a.png').read_bytes()
    (tmp_path / 'vi' / 'a.png').write_bytes(png[: len(png) // 2])
    dataset = FusionDataset(data_root=str(tmp_path), pipeline=PIPELINE)
    with pytest.raises(ImageReadError, match=r'vi.a\.png: cannot be read .* damaged or incomplete'):
        dataset[0]
    assert dataset[1]['inputs'].shape == (4, 5, 7)


def test_stack_pair(rgb):
    np.testing.assert_array_equal(stack_pair(rgb, rgb[..., 1])[..., 3], rgb[..., 1])
    with pytest.raises(
        ValueError, match=r'the visible image is 7×5 but the infrared image is 7×4 \(width×height\).*align'
    ):
        stack_pair(rgb, rgb[:4, :, 0])


@pytest.mark.parametrize(('orientation', 'size'), [(3, (5, 7)), (6, (7, 5))])
def test_one_turned_image_of_a_pair_is_noticed(tmp_path, orientation, size):
    """A phone turns its photo by EXIF, and the infrared image beside it has no such tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(105, dtype=np.uint8).reshape(5, 7, 3)).save(tmp_path / 'vi.jpg', exif=exif)
    write_image(tmp_path / 'ir.png', np.arange(35, dtype=np.uint8).reshape(5, 7))
    paths = dict(img_path=str(tmp_path / 'vi.jpg'), ir_path=str(tmp_path / 'ir.png'))
    said = rf'vi\.jpg has the EXIF orientation {orientation}, and .*ir\.png 1: each was turned .* remove the tags'
    if size == (5, 7):
        with pytest.warns(UserWarning, match=said):
            LoadImagePair()(paths)
    else:
        with pytest.raises(ValueError, match=rf'5×7 but .* 7×5 .*{said}'):
            LoadImagePair()(paths)


def test_refuses_unknown_depth():
    with pytest.raises(ValueError, match="depth16 must be 'full' or 'stretch', got 'minmax'"):
        LoadImagePair(depth16='minmax')


def test_pairs_kept_in_memory(tmp_path, rgb):
    """As read, once, and as they were, whatever is written into an earlier copy; beyond the limit pairs are read again."""
    paths = []
    for name in 'ab':
        write_image(tmp_path / f'{name}.png', rgb)
        write_image(tmp_path / f'{name}_ir.png', rgb[..., 0])
        paths.append(dict(img_path=str(tmp_path / f'{name}.png'), ir_path=str(tmp_path / f'{name}_ir.png')))
    expected = LoadImagePair()(dict(paths[0]))['img']
    load = LoadImagePair(cache_gb=expected.nbytes / 1e9, value_range=True)
    for _ in range(3):
        results = load(dict(paths[0]))
        np.testing.assert_array_equal(results['img'], expected)
        assert results['value_range'][1] == (rgb[..., 0].min(), rgb[..., 0].max())
        results['img'][:] = 0
        (tmp_path / 'a.png').unlink(missing_ok=True)
    load(dict(paths[1]))
    (tmp_path / 'b.png').unlink()
    with pytest.raises(ImageReadError, match=r'b\.png'):
        load(dict(paths[1]))
    with pytest.raises(ValueError, match='cache_gb must be 0 or more, got -1'):
        LoadImagePair(cache_gb=-1)


def test_masks_are_binary_and_listed(tmp_path, rgb):
    mask = np.zeros((5, 7), np.uint8)
    mask[2, 3], mask[0, 0] = 255, 1
    write_image(tmp_path / 'vi.png', mask)
    write_image(tmp_path / 'ir.png', 255 - mask)
    paths = dict(mask_vi_path=str(tmp_path / 'vi.png'), mask_ir_path=str(tmp_path / 'ir.png'))
    results = LoadSaliencyMasks()(dict(img=rgb, img_path='a.png', **paths))
    np.testing.assert_array_equal(results['gt_mask_vi'], mask > 0)
    np.testing.assert_array_equal(results['gt_mask_ir'], mask != 255)
    assert results['seg_fields'] == ['gt_mask_vi', 'gt_mask_ir']
    assert results['gt_mask_vi'].dtype == np.uint8
    with pytest.raises(KeyError, match=r'a\.png: no mask_ir_path.*mmfusion masks'):
        LoadSaliencyMasks()(dict(img=rgb, img_path='a.png', mask_vi_path=paths['mask_vi_path']))
