"""Radiometric JPEGs: noticed, read as temperatures where flyr is installed, one sentence otherwise."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmfusion.utils import ImageReadError, read_infrared, sequence_range
from mmfusion.utils.radiometric import is_radiometric


@pytest.fixture
def thermal(tmp_path):
    """A JPEG of 16×12 (width×height) with FLIR's segment in its header, turned by EXIF."""
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(path, exif=exif)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b'\xff\xe1\x00\x10FLIR\0' + bytes(9) + data[2:])
    return path


@pytest.fixture
def flyr(monkeypatch):
    """A stand-in for the package: 6×8 temperatures from 20 °C on."""
    celsius = 20 + np.arange(48.0).reshape(6, 8)
    monkeypatch.setitem(sys.modules, 'flyr', SimpleNamespace(unpack=lambda path: SimpleNamespace(celsius=celsius)))
    return celsius


def test_temperatures_have_the_range_in_degrees(thermal, flyr):
    """At the size of the picture, and turned like it."""
    assert is_radiometric(thermal)
    warm = read_infrared(thermal, ir_range=(20, 67))
    assert warm.shape == (16, 12)
    assert (warm.min(), warm.max()) == (0, 255)
    assert warm[0, -1] < 5 < 250 < warm[-1, 0]  # what was left is above
    assert sequence_range([thermal], ('0%', '100%')) == pytest.approx((20, 67))


def test_the_picture_is_read_with_a_warning(thermal):
    with pytest.warns(UserWarning, match=r'a\.jpg: a radiometric JPEG .*ir_range=\(10, 40\) \(--ir-range 10 40\)'):
        assert read_infrared(thermal).shape == (16, 12)


def test_what_is_missing_is_said(thermal, monkeypatch):
    monkeypatch.setitem(sys.modules, 'flyr', None)
    with pytest.raises(ImageReadError, match=r'a\.jpg: its temperatures, .*by the package flyr: pip install flyr'):
        read_infrared(thermal, ir_range=(20, 40))

    def unpack(path):
        raise KeyError(1)

    monkeypatch.setitem(sys.modules, 'flyr', SimpleNamespace(unpack=unpack))
    with pytest.raises(ImageReadError, match=r'a\.jpg: flyr cannot read its temperatures \(KeyError: 1\)\. Leave out'):
        read_infrared(thermal, ir_range=(20, 40))


def test_other_files_are_not_radiometric(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / 'a.jpg')
    (tmp_path / 'b.jpg').write_bytes(b'\xff\xd8\xff')
    assert not any(is_radiometric(tmp_path / name) for name in ('a.jpg', 'b.jpg', 'c.jpg', 'c.png'))
