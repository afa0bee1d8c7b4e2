"""Infrared images: ranges, palettes and what is said of colours."""

import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.utils import (
    ImageReadError,
    check_reading,
    palettes,
    read_infrared,
    read_pair,
    read_shown,
    sequence_range,
    to_8bit,
)


def save(path, array, mode=None, **kwargs):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **kwargs)
    return path


def test_raw_thermal_data(tmp_path):
    """14-bit counts around 7500: dark by full scale, with a warning; from black to white when stretched."""
    raw = np.linspace(7000, 8000, 400).astype(np.uint16).reshape(20, 20)
    cv2.imwrite(str(tmp_path / 'a.png'), raw)
    with pytest.warns(UserWarning, match=r"a\.png: a 16-bit image whose highest value is 8000.*depth16='stretch'"):
        assert read_infrared(tmp_path / 'a.png').max() == 31
    stretched = read_infrared(tmp_path / 'a.png', depth16='stretch')
    assert (stretched[0, 0], stretched[-1, -1]) == (0, 255)
    assert abs(int(stretched[10, 0]) - 127) <= 2


@pytest.mark.parametrize(('low', 'high', 'told'), [(28000, 33100, True), (20000, 40000, False), (30000, 30000, False)])
def test_16_bits_of_a_narrow_range_are_noticed(tmp_path, recwarn, low, high, told):
    """Kelvin × 100 becomes a dozen grey levels by full scale; a frame of one value is no thermal picture."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.linspace(low, high, 400).astype(np.uint16).reshape(20, 20))
    read_infrared(tmp_path / 'a.png')
    messages = [str(w.message) for w in recwarn.list]
    assert [f'from {low} to {high} of 65535' in m and '--ir-range' in m for m in messages] == [True] * told


@pytest.mark.parametrize(('low', 'high'), [(8000, 8000), (28000, 33100)])
def test_16_bits_of_a_narrow_range_are_told_once_a_folder(tmp_path, recwarn, low, high):
    for folder, name in (('x', 'a'), ('x', 'b'), ('y', 'a')):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / f'{name}.png'), np.array([[low, high + ord(name)]], np.uint16))
        read_infrared(tmp_path / folder / f'{name}.png')
    assert [str(w.message).split(': ')[0] for w in recwarn] == [str(tmp_path / f) for f in ('x/a.png', 'y/a.png')]


def test_infrared_in_a_palette_is_noticed(tmp_path, recwarn):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    cv2.imwrite(str(tmp_path / 'jet.png'), cv2.applyColorMap(ramp, cv2.COLORMAP_JET))
    cv2.imwrite(str(tmp_path / 'grey.jpg'), np.repeat(ramp[..., None], 3, 2), [cv2.IMWRITE_JPEG_QUALITY, 50])
    read_infrared(tmp_path / 'grey.jpg')
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r'jet\.png: an infrared image in colours .* Export it in grey'):
        read_infrared(tmp_path / 'jet.png')


def test_a_constant_image_is_not_stretched_silently(tmp_path):
    np.save(tmp_path / 'a.npy', np.full((8, 9), 293.5, np.float32))
    with pytest.warns(UserWarning, match=r'a\.npy: nearly all values are 293\.5: stretched, the image is black'):
        assert not read_infrared(tmp_path / 'a.npy', 'stretch').any()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        to_8bit(np.linspace(280, 310, 100), 'a', 'stretch')


@pytest.mark.parametrize('kind', ['tif', 'npy'])
def test_a_fixed_range_is_the_same_in_all_images(tmp_path, kind):
    values = np.array([[6000, 7000, 7500, 8000, 9000]], np.uint16)
    for k, array in enumerate((values, values[:, :3])):
        np.save(tmp_path / f'{k}.npy', array) if kind == 'npy' else cv2.imwrite(str(tmp_path / f'{k}.tif'), array)
    read = [read_infrared(tmp_path / f'{k}.{kind}', ir_range=(7000, 8000)).tolist() for k in range(2)]
    assert read == [[[0, 0, 128, 255, 255]], [[0, 0, 128]]]
    percentiles = read_infrared(tmp_path / f'0.{kind}', ir_range=('25%', '75%'))
    assert percentiles.tolist() == [[0, 0, 128, 255, 255]]
    low, high = sequence_range([tmp_path / f'{k}.{kind}' for k in range(2)], ('0%', '50%'))
    assert (low, high) == (6000, 7250)
    for shown in (
        read_shown(tmp_path / f'0.{kind}', infrared=True, ir_range=(7000, 8000)),
        read_pair(
            save(tmp_path / 'vi.png', np.zeros((1, 5, 3), np.uint8)), tmp_path / f'0.{kind}', ir_range=(7000, 8000)
        )[1],
    ):
        assert shown.tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize('name', ['counts.tif', 'counts.png', 'kelvin.tif'])
def test_a_range_holds_for_grey_saved_as_colour(tmp_path, name):
    """Three equal channels keep the unit of the file, of which the range is."""
    values = np.array([[6000, 7000, 7500, 8000, 9000]], np.float32 if name.startswith('k') else np.uint16)
    cv2.imwrite(str(tmp_path / name), np.repeat(values[..., None], 3, 2))
    assert read_infrared(tmp_path / name, ir_range=(7000, 8000)).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(('ir_range', 'level'), [((0, 1), 255), ((20000, 30000), 0)])
def test_a_range_beside_all_values_is_noticed(tmp_path, ir_range, level):
    np.save(tmp_path / 'a.npy', np.array([[6000, 7000]], np.uint16))
    with pytest.warns(UserWarning, match=r'a\.npy: its values, from 6000 to 7000, all lie outside of ir_range'):
        assert (read_infrared(tmp_path / 'a.npy', ir_range=ir_range) == level).all()


@pytest.mark.parametrize('name', ['inferno', 'jet', 'hot_r', 'cv_rainbow', 'bar.png'])
def test_palettes_are_turned_back_into_values(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save('bar.png', (np.arange(0, 256, 4)[None, :, None] // np.array([1, 2, 3])).repeat(5, 0).astype(np.uint8))
    heat = np.add.outer(np.arange(32) * 4, np.arange(32) * 4).astype(np.uint8)
    file = save(tmp_path / 'a.png', palettes.palette(name)[heat // 4 if name == 'bar.png' else heat])
    values = read_infrared(file, ir_colormap=name).astype(int)
    assert np.abs(values - (heat // 4 * (255 / 63) if name == 'bar.png' else heat)).max() <= 4
    stretched = read_infrared(file, ir_colormap=name, ir_range=(0, 124)).astype(int)
    assert np.abs(stretched - np.clip(values * 255 / 124, 0, 255)).max() <= 1


def test_palettes_are_noticed(tmp_path):
    heat = np.add.outer(np.arange(32) * 4, np.arange(32) * 4).astype(np.uint8)
    file = save(tmp_path / 'a.png', palettes.palette('turbo')[heat])
    with pytest.warns(UserWarning, match=r'name the palette \(ir_colormap, --ir-colormap\): turbo'):
        read_infrared(file)
    with pytest.raises(
        ImageReadError, match=r"a\.png: its colours are not those of ir_colormap='hot' .*'turbo' is near"
    ):
        read_infrared(file, ir_colormap='hot')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ir_range=(9, 3)), 'ir_range .--ir-range. is .9, 3.; expected two numbers, the lower one first'),
        (dict(ir_range=('1%', 5)), 'or two percentiles, such as 1% 99%'),
        (dict(ir_range=('1%', '101%')), 'two percentiles'),
        (dict(ir_range=(1,)), 'expected two numbers'),
        (dict(ir_range=(float('nan'), 1)), 'expected two numbers'),
        (dict(ir_colormap='iron'), "ir_colormap='iron': no such palette; expected a colormap of matplotlib"),
        (dict(depth16='raw'), "depth16 must be 'full' or 'stretch', got 'raw'"),
    ],
)
def test_options_of_reading_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        check_reading(**options)
