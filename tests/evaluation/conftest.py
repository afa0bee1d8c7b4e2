"""Small image sets and the published values."""

import csv

import numpy as np
import pytest
import torch

from mmfusion.utils import write_image


def _make_triple(count=2, height=64, width=72, seed=0):
    """fused, ir, vi: N×1×H×W float64 in 0–255, whole numbers; the fused image is made from both sources."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count * 2, 1, 9, 10, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode='bicubic').clamp(0, 1)
    noise = 0.1 * torch.rand(count * 2, 1, height, width, generator=generator)
    ir, vi = ((smooth + noise) * 230).round().clamp(0, 255).double().chunk(2)
    return (0.6 * torch.maximum(ir, vi) + 0.4 * (ir + vi) / 2).round(), ir, vi


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


@pytest.fixture(scope='session')
def make_triple():
    """:func:`_make_triple`."""
    return _make_triple


@pytest.fixture
def triple():
    """A smooth, textured set of fused, infrared and visible image, 2×1×64×72 in whole grey levels."""
    return _make_triple()


@pytest.fixture
def fused_folders(tmp_path):
    """Folders ir, vi, a and b with three small images each; b's third image has another brightness."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(('00001D', '00002N', '00003N')):
        ir = np.clip(np.cumsum(rng.normal(0, 9, (48, 56)), 1) + 128, 0, 255).astype(np.uint8)
        vi = np.clip(np.cumsum(rng.normal(0, 9, (48, 56, 3)), 0) + 128, 0, 255).astype(np.uint8)
        mean = ((vi.astype(int) + ir[..., None]) // 2).astype(np.uint8)
        write_image(tmp_path / 'ir' / f'{name}.png', ir)
        write_image(tmp_path / 'vi' / f'{name}.png', vi)
        write_image(tmp_path / 'a' / f'{name}.png', mean)
        write_image(tmp_path / 'b' / f'{name}.jpg', np.maximum(mean, ir[..., None]) // (2 if k == 2 else 1))
    return tmp_path


@pytest.fixture(scope='session')
def read_values():
    """:func:`_read_values`."""
    return _read_values


def _read_values(file):
    """{(method, image): {metric: (value, text)}} of a CSV file of published values."""
    found = {}
    with open(file, newline='') as handle:
        for row in csv.DictReader(handle):
            key = row['method'], row['image']
            found.setdefault(key, {})[row['metric']] = float(row['value']), row['value']
    return found
