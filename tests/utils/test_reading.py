"""Reading of every common kind of image file, and the refusal of damaged ones."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmfusion.utils import (
    ImageReadError,
    decoding,
    image_size,
    list_images,
    read_four_channels,
    read_infrared,
    read_label_map,
    read_mask,
    read_pair,
    read_shown,
    read_size,
    read_visible,
    refuse_equal,
    sequence_range,
    to_bgr,
    to_uint8,
)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)


def save(path, array, mode=None, **kwargs):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **kwargs)
    return path


def luma(rgb):
    """BT.601 by hand."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def test_colour_is_read_as_bgr(tmp_path, rgb):
    file = save(tmp_path / 'a.png', rgb)
    np.testing.assert_array_equal(read_visible(file), rgb[..., ::-1])
    np.testing.assert_array_equal(read_visible(file), cv2.imread(str(file)))
    assert np.abs(read_infrared(file) - luma(rgb)).max() <= 1
    assert read_visible(file).flags['C_CONTIGUOUS']


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif'])
def test_grey_is_repeated(tmp_path, rgb, suffix):
    grey = rgb[..., 0]
    file = save(tmp_path / f'a.{suffix}', np.ascontiguousarray(grey))
    np.testing.assert_array_equal(read_infrared(file), grey)
    np.testing.assert_array_equal(read_visible(file), np.stack([grey] * 3, 2))


def test_jpeg_is_close(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    file = save(tmp_path / 'a.jpg', ramp, quality=95)
    assert np.abs(read_infrared(file).astype(int) - ramp).max() <= 4


def test_transparency_is_dropped(tmp_path, rgb):
    """The colours are kept as they are stored, whether or not a viewer would show them."""
    alpha = np.arange(77, dtype=np.uint8).reshape(7, 11)
    file = save(tmp_path / 'a.png', np.dstack([rgb, alpha]))
    np.testing.assert_array_equal(read_visible(file), rgb[..., ::-1])
    file = save(tmp_path / 'opaque.png', np.dstack([rgb, np.full_like(alpha, 255)]))
    assert np.abs(read_infrared(file) - luma(rgb)).max() <= 1


@pytest.mark.parametrize('name', ['a.png', 'a.tiff', 'a.npy', 'deep.png', 'la.png'])
def test_a_fourth_channel_is_not_dropped_from_an_infrared_image(tmp_path, rgb, name):
    """MFNet's thermal channel is where other files have transparency."""
    pair = np.dstack([rgb, np.arange(77, dtype=np.uint8).reshape(7, 11)])
    expected = pair[..., [2, 1, 0, 3]]
    if name == 'a.npy':
        np.save(tmp_path / name, expected)
    elif name == 'deep.png':
        cv2.imwrite(str(tmp_path / name), expected.astype(np.uint16) * 257)
    else:
        save(tmp_path / name, pair[..., 2:] if name == 'la.png' else pair)
    with pytest.raises(ImageReadError, match=rf'{name}: .*--rgbt DIR'):
        read_infrared(tmp_path / name)
    if name == 'la.png':
        with pytest.raises(ImageReadError, match=r'la\.png: expected four channels \(R, G, B, thermal\), found .*LA'):
            read_pair(tmp_path / name)
        return
    if name != 'a.npy':  # opaque transparency is no thermal image
        cv2.imwrite(str(tmp_path / f'o{name}'), np.dstack([rgb, np.full((7, 11), 255, np.uint8)]))
        with pytest.raises(ImageReadError, match='the fourth channel is opaque transparency'):
            read_pair(tmp_path / f'o{name}')
    for given in ((tmp_path / name,), (tmp_path / name, str(tmp_path / name))):
        vi, ir = read_pair(*given)
        np.testing.assert_array_equal(np.dstack([vi, ir]), expected)


def test_palette(tmp_path):
    """Images take the palette's colours, label maps its indices."""
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read_visible(tmp_path / 'a.png'), colours[indices][..., ::-1])
    assert np.abs(read_infrared(tmp_path / 'a.png') - luma(colours[indices])).max() <= 1
    np.testing.assert_array_equal(read_label_map(tmp_path / 'a.png'), indices)


def test_one_bit(tmp_path):
    bits = np.eye(9, dtype=bool)
    file = save(tmp_path / 'a.png', bits)
    np.testing.assert_array_equal(read_infrared(file), bits * 255)
    np.testing.assert_array_equal(read_mask(file), bits)
    np.testing.assert_array_equal(read_label_map(file), bits)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bits(tmp_path, suffix):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert cv2.imwrite(str(tmp_path / f'a.{suffix}'), deep)
    expected = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(read_infrared(tmp_path / f'a.{suffix}'), expected)
    np.testing.assert_array_equal(read_visible(tmp_path / f'a.{suffix}'), np.stack([expected] * 3, 2))


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bit_colour(tmp_path, suffix):
    """All 16 bits count: a dim image is stretched from them, and full scale rounds rather than truncates."""
    deep = np.random.default_rng(0).integers(40000, 41000, (12, 13, 3), np.uint16)
    cv2.imwrite(str(tmp_path / f'a.{suffix}'), deep)
    np.testing.assert_array_equal(read_visible(tmp_path / f'a.{suffix}'), np.round(deep / 257))
    stretched = read_visible(tmp_path / f'a.{suffix}', depth16='stretch')
    assert len(np.unique(stretched)) > 100
    grey = read_infrared(tmp_path / f'a.{suffix}')
    assert np.abs(grey - luma(np.round(deep / 257)[..., ::-1])).max() <= 1


@pytest.mark.parametrize('kind', ['f4 tif', 'f8 tif', 'f4 tif colour', 'f4 npy', 'f2 npy', 'f8 npy colour', 'f4 pfm'])
def test_floating_point(tmp_path, kind):
    """Values in [0, 1] have a scale; others are stretched, or refused with what to do."""
    dtype, suffix, *colour = kind.split()
    ramp = np.linspace(0, 1, 256).reshape(16, 16).astype(dtype)
    expected = np.arange(256).reshape(16, 16)
    for name, values in (('unit', ramp), ('kelvin', 280 + 30 * ramp)):
        values = np.repeat(values[..., None], 3, 2) if colour else values
        file = tmp_path / f'{name}.{suffix}'
        np.save(file, values) if suffix == 'npy' else cv2.imwrite(str(file), values)
    np.testing.assert_allclose(read_visible(tmp_path / f'unit.{suffix}')[..., 0], expected, atol=1)
    np.testing.assert_allclose(
        read_shown(tmp_path / f'unit.{suffix}', 'result').reshape(16, 16, -1)[..., 0], expected, atol=1
    )
    with pytest.raises(ImageReadError, match=r'kelvin\..*: floating-point values from 280 to 310 .*--depth16 stretch'):
        read_visible(tmp_path / f'kelvin.{suffix}')
    with pytest.raises(ImageReadError, match=r'310 have no full scale.* Save the fused image with 8 bits'):
        read_shown(tmp_path / f'kelvin.{suffix}', 'result')
    if kind == 'f8 npy colour':  # an array, which is infrared with one channel only
        with pytest.raises(ImageReadError, match=r'unit\.npy: expected H×W, got shape \(16, 16, 3\)'):
            read_infrared(tmp_path / 'unit.npy')
        return
    np.testing.assert_allclose(read_infrared(tmp_path / f'unit.{suffix}'), expected, atol=1)
    stretched = read_infrared(tmp_path / f'kelvin.{suffix}', depth16='stretch')
    np.testing.assert_allclose(stretched, expected, atol=3 if dtype != 'f2' else 20)


@pytest.mark.parametrize('suffix', ['pgm', 'jp2', 'png', 'npy'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_formats_of_cameras(tmp_path, suffix, dtype):
    levels = np.arange(256).reshape(16, 16).repeat(4, 0).repeat(4, 1)  # OpenJPEG wants some pixels
    grey = (levels * (257 if dtype == np.uint16 else 1)).astype(dtype)
    file = tmp_path / f'a.{suffix}'
    if suffix == 'npy':
        np.save(file, grey)
    else:
        cv2.imwrite(str(file), grey, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    np.testing.assert_allclose(read_infrared(file), levels, atol=1)
    assert list_images(tmp_path) == {'a': file}
    assert image_size(file) == (64, 64)


@pytest.mark.parametrize('suffix', ['ppm', 'jp2'])
def test_deep_colour_of_other_formats(tmp_path, suffix):
    """Pillow gives 8 of their 16 bits."""
    deep = np.random.default_rng(0).integers(40000, 41000, (64, 65, 3), np.uint16)
    cv2.imwrite(str(tmp_path / f'a.{suffix}'), deep)
    assert len(np.unique(read_visible(tmp_path / f'a.{suffix}', 'stretch'))) > 100


def test_arrays_that_are_no_images(tmp_path):
    np.save(tmp_path / 'one.npy', np.zeros(3))
    np.save(tmp_path / 'two.npy', np.zeros((3, 4, 2)))
    np.save(tmp_path / 'long.npy', np.zeros((3, 4), np.int64))
    np.save(tmp_path / 'object.npy', np.array([{}], dtype=object))
    (tmp_path / 'empty.npy').write_bytes(b'')
    for name, match in (
        ('one', r'an array of shape \(3,\)'), ('two', r'expected .*H×W, got shape \(3, 4, 2\)'),
        ('long', 'got type int64'), ('object', 'cannot be read'), ('empty', 'cannot be read'), ('none', 'no such file'),
    ):  # fmt: skip
        for read in (read_visible, read_infrared):
            with pytest.raises(ImageReadError, match=rf'{name}\.npy: .*{match}'):
                read(tmp_path / f'{name}.npy')


def patched_tiff(path, image, **tags):
    """Write a TIFF file, and change values of its tags, which no writer at hand offers."""
    Image.fromarray(image).save(path, tiffinfo={339: 1})
    data = path.read_bytes()
    for tag, (old, new) in {int(tag[1:]): values for tag, values in tags.items()}.items():
        head = struct.pack('<HHI', tag, 3, 1)
        assert head + struct.pack('<I', old) in data
        data = data.replace(head + struct.pack('<I', old), head + struct.pack('<I', new))
    path.write_bytes(data)
    return path


def test_tiff_whose_zero_is_white(tmp_path):
    """Thermal data of 16 bits are turned as those of 8 bits are; floats have no white to turn at."""
    grey = np.linspace(0, 255, 24 * 32).astype(np.uint8).reshape(24, 32)
    for image in (grey, grey.astype(np.uint16) * 257):
        file = patched_tiff(tmp_path / 'w.tif', image, t262=(1, 0))
        np.testing.assert_array_equal(read_infrared(file), 255 - grey)
    file = patched_tiff(tmp_path / 'w.tif', grey.astype(np.float32) / 255, t262=(1, 0))
    with pytest.raises(ImageReadError, match=r'w\.tif: a TIFF file of values of 32 bits of which 0 is white'):
        read_infrared(file, 'stretch')


def test_tiff_of_several_channels(tmp_path, rgb):
    """An unnamed fourth channel is the thermal one; of others none is dropped without a word."""
    pair = np.dstack([rgb, rgb[..., 0] // 2])
    file = patched_tiff(tmp_path / 'x.tif', pair, t338=(2, 0))
    np.testing.assert_array_equal(read_four_channels(file), pair[..., [2, 1, 0, 3]])
    with pytest.raises(ImageReadError, match='with a fourth channel'):
        read_infrared(file)
    patched_tiff(tmp_path / 'x.tif', pair, t262=(2, 1))
    for reader in (read_visible, read_infrared, read_four_channels):
        with pytest.raises(ImageReadError, match=r'x\.tif: a TIFF file of 4 channels, of which 1 could be read'):
            reader(file)
    cv2.imwrite(str(file), rgb.astype(np.uint16) * 257, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    contiguous, planar = (struct.pack('<HHII', 284, 3, 1, value) for value in (1, 2))
    file.write_bytes(file.read_bytes().replace(contiguous, planar))
    with pytest.raises(ImageReadError, match=r'of 16 bits, each by itself \(planar\), which is not read'):
        read_visible(file)


def test_four_channels_are_not_divided_by_a_premultiplied_alpha(tmp_path):
    """The thermal channel of a TIFF whose writer called it associated alpha: the colours are those of the file."""
    pair = np.random.default_rng(3).integers(1, 250, (12, 16, 4), np.uint8)
    Image.fromarray(pair).save(tmp_path / 'a.tif')
    entry = struct.pack('<HHIH', 338, 3, 1, 2)  # ExtraSamples: unassociated alpha
    data = (tmp_path / 'a.tif').read_bytes()
    assert data.count(entry) == 1
    (tmp_path / 'b.tif').write_bytes(data.replace(entry, struct.pack('<HHIH', 338, 3, 1, 1)))
    for name in ('a.tif', 'b.tif'):
        np.testing.assert_array_equal(read_four_channels(tmp_path / name), pair[..., [2, 1, 0, 3]])


def test_tiff_of_signed_bytes(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / 's.tif', tiffinfo={339: 2})
    with pytest.raises(ImageReadError, match=r's\.tif: a TIFF file of signed values of 8 bits'):
        read_infrared(tmp_path / 's.tif')


def test_several_pages(tmp_path, rgb):
    """The first of several images is not taken for the only one; a smaller version beside it is none of them."""
    pages = [Image.fromarray(x) for x in (rgb, 255 - rgb, rgb)]
    for suffix in ('tiff', 'png', 'webp'):
        pages[0].save(tmp_path / f'a.{suffix}', save_all=True, append_images=pages[1:])
        for read in (read_visible, read_infrared):
            with pytest.raises(ImageReadError, match=rf'a\.{suffix}: holds 3 images \(pages or frames\); expected one'):
                read(tmp_path / f'a.{suffix}')
    small = pages[0].resize((5, 3))
    small.encoderinfo = {'tiffinfo': {254: 1}}
    pages[0].save(tmp_path / 'map.tiff', save_all=True, append_images=[small])
    np.testing.assert_array_equal(read_visible(tmp_path / 'map.tiff'), rgb[..., ::-1])


def test_images_beyond_pillows_limit(tmp_path, rgb, monkeypatch):
    file = save(tmp_path / 'a.png', rgb)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)  # 77 pixels: more than twice as many is an error, not a warning
    assert read_visible(file).shape == (7, 11, 3)
    assert image_size(file) == (7, 11)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(decoding, '_MAX_PIXELS', 76)
    with pytest.raises(ImageReadError, match=r'a\.png: 11×7 pixels .*Cut the image into parts'):
        read_visible(file)


def test_values_that_cannot_be_used(tmp_path):
    save(tmp_path / 'a.tif', np.full((4, 4), 70000, np.int32))
    with pytest.raises(ImageReadError, match='values from 70000 to 70000 do not fit 16 bits'):
        read_infrared(tmp_path / 'a.tif')
    save(tmp_path / 'b.tif', np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ImageReadError, match='NaN or infinite'):
        read_visible(tmp_path / 'b.tif', depth16='stretch')
    constant = save(tmp_path / 'c.tif', np.full((4, 4), 0.5, np.float32))
    assert read_infrared(constant, depth16='stretch').max() == 0


@pytest.mark.parametrize(('orientation', 'turn'), [
    (2, lambda a: a[:, ::-1]), (3, lambda a: a[::-1, ::-1]), (4, lambda a: a[::-1]),
    (5, lambda a: a.swapaxes(0, 1)), (6, lambda a: np.rot90(a, -1)), (8, np.rot90),
])  # fmt: skip
def test_exif_orientation(tmp_path, rgb, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / 'a.png', exif=exif)
    np.testing.assert_array_equal(read_visible(tmp_path / 'a.png'), turn(rgb)[..., ::-1])
    assert np.abs(read_infrared(tmp_path / 'a.png') - luma(turn(rgb))).max() <= 1


def test_one_pixel(tmp_path):
    file = save(tmp_path / 'a.png', np.array([[[1, 2, 3]]], np.uint8))
    assert read_visible(file).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize(('array', 'mode'), [
    (np.array([[0, 1, 255]], np.uint8), None),
    (np.array([[0, 1, 65535]], np.uint16), None),
    (np.array([[0, 255, 255]], np.uint8), 'RGB'),
    (np.array([[0, 255, 255]], np.uint8), 'P'),
])  # fmt: skip
def test_masks_of_any_kind(tmp_path, array, mode):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        mask = read_mask(save(tmp_path / 'a.png', array, mode))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0, 1, 1]]


def test_label_maps(tmp_path, rgb):
    save(tmp_path / 'deep.png', np.array([[0, 14, 255]], np.uint16))
    assert read_label_map(tmp_path / 'deep.png').tolist() == [[0, 14, 255]]
    save(tmp_path / 'high.png', np.array([[0, 256]], np.uint16))
    with pytest.raises(ImageReadError, match=r'high\.png: labels from 0 to 256'):
        read_label_map(tmp_path / 'high.png')
    save(tmp_path / 'colour.png', rgb)
    with pytest.raises(ImageReadError, match=r'colour\.png: a label map must have one channel.*mode RGB'):
        read_label_map(tmp_path / 'colour.png')


@pytest.mark.parametrize('reader', [read_visible, read_infrared, read_mask, read_label_map, read_four_channels])
def test_damaged_files_are_named(tmp_path, rgb, reader):
    for suffix in ('png', 'jpg', 'bmp', 'tif', 'webp'):
        file = save(tmp_path / f'half.{suffix}', np.tile(rgb, (8, 8, 1)))
        data = file.read_bytes()
        for size in (0, 10, len(data) // 2):
            file.write_bytes(data[:size])
            with pytest.raises(ImageReadError, match=rf'half\.{suffix}: cannot be read as an image'):
                reader(file)
    for header in (
        b'P5\n4x 4\n255\n',
        b'P6\n4 4\nmany\n',
        b'P5\n4 4\n99999\n',
    ):  # Pillow raises a ValueError without a name
        (tmp_path / 'header.pgm').write_bytes(header + bytes(16))
        with pytest.raises(ImageReadError, match=r'header\.pgm: cannot be read as an image'):
            reader(tmp_path / 'header.pgm')
        assert image_size(tmp_path / 'header.pgm') in ((0, 0), (4, 4))
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, (4), }\n"  # NumPy's reader raises a TokenError
    (tmp_path / 'header.npy').write_bytes(b'\x93NUMPY\x01\0' + struct.pack('<H', len(header)) + header + bytes(16))
    with pytest.raises(ImageReadError, match=r'header\.npy: cannot be read as an image'):
        reader(tmp_path / 'header.npy')
    assert image_size(tmp_path / 'header.npy') == (0, 0)
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(ImageReadError, match=r'text\.png: cannot be read'):
        reader(tmp_path / 'text.png')
    (tmp_path / 'link.png').symlink_to('gone.png')
    with pytest.raises(ImageReadError, match=r'link\.png: a link to gone\.png, which is not there'):
        reader(tmp_path / 'link.png')
    with pytest.raises(ImageReadError, match=r'none\.png: no such file'):
        reader(tmp_path / 'none.png')


def test_rounding_to_8_bits():
    assert to_uint8(torch.tensor([-0.1, 0.0, 0.5 / 255 + 1e-6, 0.999, 1.2])).tolist() == [0, 0, 1, 255, 255]
    with pytest.raises(ValueError, match='NaN'):
        to_uint8(torch.tensor([0.5, float('nan')]))
    assert to_bgr(torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)).tolist() == [[[0, 128, 255]]]


def test_a_mask_saved_as_jpeg_is_cut_at_half_its_range(tmp_path):
    """JPEG's ringing around objects is no object; the same mask as PNG, and masks of 0 and 1, are read as before."""
    mask = np.zeros((64, 64), np.uint8)
    mask[13:37, 21:50] = 255
    cv2.imwrite(str(tmp_path / 'm.jpg'), mask, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert (cv2.imread(str(tmp_path / 'm.jpg'), 0) > 0).mean() > 1.1 * (mask > 0).mean()
    with pytest.warns(UserWarning, match=r'm\.jpg: a mask of .* levels'):
        assert np.array_equal(read_mask(tmp_path / 'm.jpg'), mask // 255)
    for name, values in (('a.png', mask), ('b.png', mask // 255), ('c.png', mask // 255 * 3)):
        cv2.imwrite(str(tmp_path / name), values)
        assert np.array_equal(read_mask(tmp_path / name), mask // 255)


def test_a_mask_saved_as_webp_is_cut_at_half_its_range(tmp_path):
    """Whose few levels, all but one near 0, looked like those of a mask that nothing was lost of."""
    mask = np.zeros((64, 64), np.uint8)
    mask[20:41, 20:41] = 255
    cv2.imwrite(str(tmp_path / 'm.webp'), mask, [cv2.IMWRITE_WEBP_QUALITY, 30])
    with pytest.warns(UserWarning, match=r'm\.webp: a mask of .* levels'):
        assert np.array_equal(read_mask(tmp_path / 'm.webp'), mask // 255)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tiff'])
def test_one_picture_for_both_is_refused(tmp_path, rgb, suffix):
    """A copy of the visible file, in colour or grey, of any depth; not what is merely similar, or of one value."""
    image = rgb if suffix != 'tiff' else rgb.astype(np.uint16) * 257
    for name in ('vi', 'ir'):
        cv2.imwrite(str(tmp_path / f'{name}.{suffix}'), image)
    files = [tmp_path / f'{name}.{suffix}' for name in ('vi', 'ir')]
    vi, ir = read_pair(*files)
    for given in (ir, vi):
        with pytest.raises(
            ValueError, match=r'ir\.\w+: in every pixel the same picture as .*vi\.\w+, which would fuse'
        ):
            refuse_equal(vi, given, *files)
    other = ir.copy()
    other[-1, -1] ^= 1
    refuse_equal(vi, other, *files)
    refuse_equal(np.zeros_like(vi), np.zeros_like(ir), *files)


def turn_tiff(file, orientation):
    """Write an orientation into a TIFF of any writer: its list of tags once more, at the end."""
    data = bytearray(file.read_bytes())
    order = '<' if data[:2] == b'II' else '>'
    start = struct.unpack(order + 'I', data[4:8])[0]
    count = struct.unpack(order + 'H', data[start : start + 2])[0]
    tags = [bytes(data[start + 2 + 12 * k :][:12]) for k in range(count)]
    tags = [tag for tag in tags if struct.unpack(order + 'H', tag[:2])[0] != 274]
    tags.append(struct.pack(order + 'HHIHH', 274, 3, 1, orientation, 0))
    tags.sort(key=lambda tag: struct.unpack(order + 'H', tag[:2])[0])
    data += bytes(len(data) % 2)
    data[4:8] = struct.pack(order + 'I', len(data))
    file.write_bytes(data + struct.pack(order + 'H', len(tags)) + b''.join(tags) + bytes(4))


def write_png(file, *chunks):
    """Write a PNG of chunks, each a name and its data."""
    parts = (struct.pack('>I', len(d)) + n + d + struct.pack('>I', zlib.crc32(n + d)) for n, d in chunks)
    file.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


def deep_png(file, rgb, orientation):
    """A PNG of 16 bits a channel, turned by EXIF."""

    exif = Image.Exif()
    exif[0x0112] = orientation
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in rgb.astype(np.uint16) * 257)
    header = struct.pack('>IIBBBBB', rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'eXIf', exif.tobytes()[6:]), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')]
    write_png(file, *chunks)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_files_of_any_depth_are_turned_and_so_is_their_size(tmp_path, rgb, orientation):
    """Grey TIFF without compression came out as other pixels, deep PNG unturned, and the size of TIFF turned twice."""
    turn = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }[orientation]  # fmt: skip
    grey, bgr = np.ascontiguousarray(rgb[..., 0]), rgb[..., ::-1]
    deep = grey.astype(np.uint16) * 257
    files = {
        'g.tif': grey,
        'deep.tif': deep,
        'float.tif': np.float32(grey / 255),
        'bgr.tif': bgr.astype(np.uint16) * 257,
    }
    for name, array in files.items():
        if array.ndim == 2:
            Image.fromarray(array).save(tmp_path / name)
        else:
            cv2.imwrite(str(tmp_path / name), array)
        turn_tiff(tmp_path / name, orientation)
    deep_png(tmp_path / 'deep.png', rgb, orientation)
    for name in (*files, 'deep.png'):
        expected = turn(bgr) if name in ('bgr.tif', 'deep.png') else np.repeat(turn(grey)[..., None], 3, 2)
        np.testing.assert_array_equal(read_visible(tmp_path / name), expected, err_msg=name)
        assert read_size(tmp_path / name) == expected.shape[:2], name


def test_numbers_of_grey_files_are_as_they_are_written(tmp_path):
    """Decoders spread 4 bits, and a PGM's highest number, to the full scale: other labels, and other units of a range."""
    values = np.arange(16, dtype=np.uint8).reshape(2, 8)
    rows = b''.join(b'\0' + bytes(a << 4 | b for a, b in row.reshape(-1, 2)) for row in values)

    header = struct.pack('>IIBBBBB', 8, 2, 4, 0, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')]
    write_png(tmp_path / 'a.png', *chunks)
    (tmp_path / 'a.pgm').write_bytes(b'P5\n8 2\n15\n' + values.tobytes())
    for name in ('a.png', 'a.pgm'):
        np.testing.assert_array_equal(read_label_map(tmp_path / name), values)
        np.testing.assert_array_equal(read_infrared(tmp_path / name), values * 17)
        np.testing.assert_array_equal(read_infrared(tmp_path / name, ir_range=(0, 15)), values * 17)
    (tmp_path / 'lepton.pgm').write_bytes(b'P2\n3 1\n8800\n7800 8300 8800\n')
    np.testing.assert_array_equal(read_infrared(tmp_path / 'lepton.pgm', ir_range=(7800, 8800)), [[0, 128, 255]])
    assert sequence_range([tmp_path / 'lepton.pgm'], ('0%', '100%')) == (7800, 8800)


@pytest.mark.parametrize('name', ['loop.png', 'a.png/b.png', f'{"a" * 300}.png', 'a\0.png'])
def test_paths_that_the_system_refuses_are_named(tmp_path, rgb, name):
    save(tmp_path / 'a.png', rgb)
    (tmp_path / 'loop.png').symlink_to('loop.png')
    with pytest.raises(ImageReadError, match='png: cannot be opened'):
        read_infrared(f'{tmp_path}/{name}')
