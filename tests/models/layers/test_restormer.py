"""Restormer's block, the gradient residual dense block and other layers, against their formulas written out."""

import pytest
import torch
import torch.nn.functional as F

from mmfusion.models.layers import GRDB, RestormerBlock, UnitTanh, sobel, sobel_magnitude
from mmfusion.models.layers.restormer import GDFN, MDTA, ChannelLayerNorm

pytestmark = pytest.mark.usefixtures('one_thread')


def direct_mdta(layer, x):
    """Restormer, eq. 1, head by head."""
    n, c, h, w = x.shape
    q, k, v = layer.depthwise(layer.qkv(x)).view(n, 3, c, h * w).unbind(1)
    size = c // layer.num_heads
    out = torch.empty(n, c, h * w)
    for i in range(n):
        for head in range(layer.num_heads):
            rows = slice(head * size, (head + 1) * size)
            q_, k_ = F.normalize(q[i, rows], dim=-1), F.normalize(k[i, rows], dim=-1)
            attention = torch.softmax(torch.einsum('ap,bp->ab', q_, k_) * layer.temperature[head, 0, 0], dim=1)
            out[i, rows] = torch.einsum('ab,bp->ap', attention, v[i, rows])
    return layer.project(out.view(n, c, h, w))


@pytest.mark.parametrize('heads', [1, 2, 6])
def test_mdta_eq_1(heads):
    layer = MDTA(6, heads, bias=True)
    torch.nn.init.uniform_(layer.temperature, 0.5, 3)
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(layer(x), direct_mdta(layer, x), rtol=0, atol=1e-6)


def test_gdfn_eq_2():
    layer = GDFN(4, expansion=2.66)
    x = torch.randn(2, 4, 5, 6)
    hidden = layer.project.in_channels
    assert hidden == 10  # ⌊4 · 2.66⌋
    both = layer.depthwise(layer.expand(x))
    torch.testing.assert_close(layer(x), layer.project(F.gelu(both[:, :hidden]) * both[:, hidden:]))


def test_block_is_two_residuals_of_normed_features():
    block = RestormerBlock(4, 2)
    x = torch.randn(1, 4, 6, 5)
    y = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), y + block.ffn(block.norm2(y)))


def test_recomputed_block_gives_the_same_gradients():
    block = RestormerBlock(4, 2, with_cp=True)
    x = torch.randn(1, 4, 6, 5, requires_grad=True)
    found = []
    for block.with_cp in (False, True):
        out = block(x)
        found.append((out, *torch.autograd.grad(out.square().sum(), [x, *block.parameters()])))
    torch.testing.assert_close(found[0], found[1])


def test_layer_norm_is_over_channels():
    x = torch.randn(2, 5, 3, 4) * 7 + 3
    y = ChannelLayerNorm(5)(x)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(y, expected)


def test_block_gradcheck():
    block = RestormerBlock(2, 1).double()
    x = torch.randn(1, 2, 3, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, x, fast_mode=True)


def test_attention_survives_half_precision_and_black_images():
    """Sums over many pixels would overflow float16; a channel of zeros has no direction, and must not give NaN."""
    layer = MDTA(4, 2)
    q = torch.full((1, 2, 2, 300), 20.0, dtype=torch.float16)
    attention = layer.attention(q, q)
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention, torch.full((1, 2, 2, 2), 0.5))
    x = torch.zeros(1, 4, 6, 6, requires_grad=True)
    layer(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, *layer.parameters()))


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match=r'channels \(6\) must be a multiple of num_heads \(4\)'):
        RestormerBlock(6, 4)


# Gradient residual dense block


def test_grdb_against_the_description():
    """GFFusion, section III-B.1: two densely connected convolutions, a gradient branch, 1×1 convolutions, a sum."""
    block = GRDB(3, 5)
    x = torch.randn(2, 3, 6, 7)
    first = F.leaky_relu(block.dense[0](x), 0.2)
    second = F.leaky_relu(block.dense[1](torch.cat([x, first], 1)), 0.2)
    dense = block.reduce(torch.cat([x, first, second], 1))
    dx, dy = sobel(x)
    gradient = torch.einsum('oi,nihw->nohw', block.gradient.weight[:, :, 0, 0], dx.abs() + dy.abs())
    expected = F.leaky_relu(dense + gradient + block.gradient.bias.view(-1, 1, 1), 0.2)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-5)


def test_grdb_kernels():
    """Section III-B.1: "two concatenated convolutions", "1×1 convolutions are used to align the channel dimension"."""
    block = GRDB(16, 48)
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in block.dense] == [(16, 16, (3, 3)), (32, 16, (3, 3))]
    for conv, cin in ((block.reduce, 48), (block.gradient, 16)):
        assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (cin, 48, (1, 1))


# Sobel magnitudes


def test_magnitudes_known_values():
    """A ramp of slopes 3 and 4 (times Sobel's 8)."""
    ramp = (3 * torch.arange(6.0)[None, :] + 4 * torch.arange(5.0)[:, None])[None, None]
    inside = (..., slice(1, -1), slice(1, -1))
    assert (sobel_magnitude(ramp)[inside] == 56).all()
    torch.testing.assert_close(sobel_magnitude(ramp, norm=2)[inside], torch.full((1, 1, 3, 4), 40.0))


@pytest.mark.parametrize('norm', [1, 2])
def test_magnitude_of_a_flat_image_has_finite_gradient(norm):
    x = torch.full((1, 1, 5, 5), 0.5, requires_grad=True)
    sobel_magnitude(x, norm, 'replicate').sum().backward()
    assert (x.grad == 0).all()


def test_unknown_norm():
    with pytest.raises(ValueError, match='norm must be 1 or 2, got 3'):
        sobel_magnitude(torch.zeros(1, 1, 3, 3), 3)


def test_unit_tanh():
    x = torch.tensor([-40.0, 0.0, 0.5, 40.0])
    assert UnitTanh()(x).tolist() == pytest.approx([0, 0.5, 1 / (1 + 2.718281828**-1), 1])
    half = UnitTanh()(torch.linspace(1.5, 2.5, 33, dtype=torch.bfloat16))
    assert half.dtype == torch.float32
    assert len(half.unique()) == 33  # in bfloat16 they would fall together
    assert UnitTanh()(x.double()).dtype == torch.float64
