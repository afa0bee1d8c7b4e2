"""Tiles give the whole image's result."""

import pytest
import torch
from torch import nn

from mmfusion.models.methods.occo import FIFN
from mmfusion.models.methods.occo.tiled import STEP, spans


def fifn(**kwargs):
    torch.manual_seed(0)
    net = FIFN(channels=(4, 4, 6, 6), num_heads=(2, 2, 2, 1), **kwargs).eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return net


@pytest.mark.parametrize(
    ('size', 'tile'),
    [((256, 320), (128, 128)), ((243, 325), (96, 128)), ((131, 129), (128, 128)), ((64, 72), (512, 512))],
)
@torch.no_grad()
def test_tiles_equal_whole(size, tile):
    net = fifn()
    vi, ir = torch.rand(2, 1, *size), torch.rand(2, 1, *size)
    torch.testing.assert_close(net.fuse_tiled(vi, ir, tile), net(vi, ir), rtol=0, atol=1e-5)


@pytest.mark.parametrize('off', ['spatial', 'channel', 'attention'])
@torch.no_grad()
def test_tiles_equal_whole_without_a_part(off):
    net = fifn(fifb={off: False})
    vi, ir = torch.rand(1, 1, 203, 150), torch.rand(1, 1, 203, 150)
    torch.testing.assert_close(net.fuse_tiled(vi, ir, (96, 96)), net(vi, ir), rtol=0, atol=1e-5)


def test_paper_variant_is_refused():
    with pytest.raises(ValueError, match='exact=False'):
        fifn(variant='paper').fuse_tiled(torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64), (32, 32))


@pytest.mark.parametrize('size', [8, 15, 96, 97, 103, 104, 1000])
def test_spans_cover_every_pixel_once(size):
    cut = spans(size, 96, 88)
    assert [p for s in cut for p in range(*s.core)] == list(range(size))
    assert all(s.core[0] % STEP == 0 and s.outer[0] <= s.core[0] and s.core[1] <= s.outer[1] <= size for s in cut)
    assert all(s.core[1] - s.core[0] >= STEP for s in cut)
