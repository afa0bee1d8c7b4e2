"""SeAFusion's network and losses, written out."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.nn import functional as F

from mmfusion.models.layers import GRDB
from mmfusion.models.methods.seafusion import SeAFusion
from mmfusion.registry import MODELS

pytestmark = pytest.mark.usefixtures('one_thread')
ROOT = Path(__file__).resolve().parents[3]


def sobel(x):
    """|∂x| + |∂y| by two convolutions with a border of zeros."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    weight = torch.stack([kernel, kernel.T])[:, None].repeat(x.shape[1], 1, 1, 1)
    gx, gy = F.conv2d(x, weight, padding=1, groups=x.shape[1]).unflatten(1, (-1, 2)).abs().unbind(2)
    return gx + gy


def written_out(net, vi, ir):
    """The network, operation by operation."""

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    def conv(layer, x):
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)

    def branch(parts, x):
        x = leaky(conv(parts[0].conv, x))
        for block in parts[1:]:
            first = leaky(conv(block.dense[0], x))
            second = leaky(conv(block.dense[1], torch.cat([x, first], 1)))
            dense = conv(block.reduce, torch.cat([x, first, second], 1))
            x = leaky(dense + conv(block.gradient, sobel(x)))
        return x

    x = torch.cat([branch(net.encoder['vi'], vi), branch(net.encoder['ir'], ir)], 1)
    for part in net.decoder[:3]:
        x = conv(part.conv, x)
        mean, var = (v[:, None, None] for v in (part.bn.running_mean, part.bn.running_var))
        x = (x - mean) / (var + part.bn.eps).sqrt() * part.bn.weight[:, None, None] + part.bn.bias[:, None, None]
        x = leaky(x)
    return (torch.tanh(conv(net.decoder[3], x)) + 1) / 2


def test_channels():
    """1 → 16 → 32 → 48 for each modality, 96 together, 96 → 64 → 32 → 16 → 1; branches do not share weights."""
    net = SeAFusion(variant='paper')
    for modality in ('vi', 'ir'):
        first, *blocks = net.encoder[modality]
        assert (first.conv.in_channels, first.conv.out_channels, first.conv.kernel_size) == (1, 16, (3, 3))
        assert [(type(b), b.gradient.in_channels, b.gradient.out_channels) for b in blocks] == [
            (GRDB, 16, 32),
            (GRDB, 32, 48),
        ]
    assert [(m.conv.in_channels, m.conv.out_channels) for m in net.decoder[:3]] == [(96, 64), (64, 32), (32, 16)]
    assert (net.decoder[3].in_channels, net.decoder[3].out_channels) == (16, 1)
    assert not {id(p) for p in net.encoder['vi'].parameters()} & {id(p) for p in net.encoder['ir'].parameters()}


@pytest.mark.parametrize('size', [(16, 16), (17, 23)])
def test_forward_written_out(size):
    net = SeAFusion(variant='paper')
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    net.eval()
    vi, ir = torch.rand(2, 2, 1, *size)
    fused = net(vi, ir)
    assert fused.shape == vi.shape
    assert 0 <= fused.min() < fused.max() <= 1
    torch.testing.assert_close(fused, written_out(net, vi, ir), rtol=0, atol=1e-5)
    assert not torch.allclose(fused, net(ir, vi))


def test_content_loss_of_the_config():
    """mean |f − max(vi, ir)| + 10 · mean | |∇f| − max(|∇vi|, |∇ir|) |, as the shipped config builds it."""
    cfg = Config.fromfile(ROOT / 'configs/seafusion/seafusion_fusion_msrs.py')
    fuser = MODELS.build(cfg.model)
    rgb, ir, fused = torch.rand(2, 3, 20, 24), torch.rand(2, 1, 20, 24), torch.rand(2, 1, 20, 24)
    losses = fuser.losses_of(fuser.complete(fuser.batch(rgb, ir, None), dict(fused=fused)))
    vi = (0.299 * rgb[:, :1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:]).clamp(0, 1)
    intensity = (fused - torch.maximum(vi, ir)).abs().mean()
    texture = 10 * (sobel(fused) - torch.maximum(sobel(vi), sobel(ir))).abs().mean()
    torch.testing.assert_close(losses['loss_intensity'], intensity, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses['loss_texture'], texture, rtol=1e-4, atol=1e-5)
    assert set(losses) == {'loss_intensity', 'loss_texture'}
