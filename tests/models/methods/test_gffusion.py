"""GFFusion's FuNet and FINet: what section III-B states, and eq. 6-8 and the merging strategies written out."""

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmfusion.models.layers import GRDB
from mmfusion.models.methods.gffusion import (
    FINet,
    GFFusion,
    GroupConvMerge,
    MeanMerge,
    WeightedSumMerge,
    combine_modalities,
)
from mmfusion.models.priors import PriorFeatures
from mmfusion.registry import MODELS

pytestmark = pytest.mark.usefixtures('one_thread')

C, L = 5, 3
FINET = dict(type='FINet', prior_channels=C, num_layers=L)
NARROW = dict(channels=(4, 6), decoder_channels=(6, 5, 4), injection=FINET)
STRATEGIES = ['mean', 'group_conv', 'weighted_sum']


def features(n=2, channels=C, layers=L, size=4):
    return {m: PriorFeatures(tuple(torch.randn(n, channels, size, size) for _ in range(layers))) for m in ('vi', 'ir')}


def inputs(n=2, h=18, w=21):
    return torch.rand(n, 1, h, w), torch.rand(n, 1, h, w), features(n)


def calibrated(net):
    """A network in eval mode whose batch norms saw some images, so that their statistics matter."""
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(*inputs(3))
    return net.eval()


# What the paper states


def test_funet_of_section_3_b_1():
    """Eq. 5: 3×3 convolution to 16 channels, LeakyReLU, GRDB to 48; concatenated, 96 channels (z_f)."""
    net = GFFusion()
    for modality in ('vi', 'ir'):
        conv, grdb = net.encoder[modality]
        assert (conv.conv.kernel_size, conv.conv.in_channels, conv.conv.out_channels) == ((3, 3), 1, 16)
        assert isinstance(conv.activate, nn.LeakyReLU)
        assert not conv.with_norm
        assert isinstance(grdb, GRDB)
        assert net.encoder[modality](torch.rand(1, 1, 16, 16)).shape == (1, 48, 16, 16)
    assert net.finet.gate.out_channels == 96
    assert not {id(p) for p in net.encoder['vi'].parameters()} & {id(p) for p in net.encoder['ir'].parameters()}


def test_two_blocks_as_in_seafusion():
    """16 → 32 → 48, where GRDB comes from; z_f stays at 96 channels."""
    net = GFFusion(channels=(16, 32, 48))
    assert [type(m).__name__ for m in net.encoder['ir']] == ['ConvModule', 'GRDB', 'GRDB']
    assert net.finet.gate.out_channels == 96


def test_finet_reads_eleven_layers_of_196_tokens_of_768():
    """Section III-B.2: L = 11, f ∈ R^{196×768}; a 14×14 grid."""
    net = GFFusion()
    assert (net.finet.num_layers, net.finet.prior_channels) == (11, 768)
    assert (net.finet.gate.in_channels, net.finet.gate.kernel_size) == (768, (1, 1))
    assert isinstance(net.finet.merge, WeightedSumMerge)  # the best of Table 2
    fused = net(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32), features(1, 768, 11, 14))
    assert fused.shape == (1, 1, 32, 32)


def test_decoder_has_batch_norm():
    """Section III-B.4: "another convolution layers performing batch normalization"; 96 → 64 → 32 → 16 → 1."""
    decoder = GFFusion().decoder
    assert [(m.conv.in_channels, m.conv.out_channels) for m in decoder[:-2]] == [(96, 64), (64, 32), (32, 16)]
    assert all(isinstance(m.norm, nn.BatchNorm2d) for m in decoder[:-2])
    assert (decoder[-2].in_channels, decoder[-2].out_channels) == (16, 1)
    x = torch.randn(1, 96, 8, 8)
    torch.testing.assert_close(decoder(x), (torch.tanh(decoder[:-1](x)) + 1) / 2)


# Equations written out


def test_eq_6_is_the_larger_of_both_element_by_element():
    prior = features()
    out = combine_modalities(prior['vi'].tokens, prior['ir'].tokens)
    assert out.shape == (2, L, C, 4, 4)
    for layer in range(L):
        a, b = (prior[m].tokens[layer].flatten().tolist() for m in ('vi', 'ir'))
        assert out[:, layer].flatten().tolist() == [max(pair) for pair in zip(a, b, strict=True)]


def test_mean_strategy():
    f = torch.randn(2, 11, C, 3, 4)
    expected = sum(f[:, layer] for layer in range(11)) / 11
    torch.testing.assert_close(MeanMerge()(f), expected, rtol=0, atol=1e-5)


def test_weighted_sum_strategy():
    """z_c = ω_1 f_1 + … + ω_L f_L. It begins as the mean."""
    merge = WeightedSumMerge(11)
    f = torch.randn(2, 11, C, 3, 4)
    torch.testing.assert_close(merge(f), f.mean(1), rtol=0, atol=1e-6)
    nn.init.normal_(merge.omega)
    omega = merge.omega.detach()
    expected = sum(omega[layer] * f[:, layer] for layer in range(11))
    torch.testing.assert_close(merge(f), expected, rtol=0, atol=1e-5)
    assert merge.omega.grad is None
    assert merge.omega.requires_grad


@pytest.mark.parametrize(('num_groups', 'sizes'), [(1, [11]), (2, [6, 5]), (11, [1] * 11)])
def test_group_conv_strategy(num_groups, sizes):
    """Σ_g ω_g BN(GroupConv(f of group g)), Σω = 1; N = 1 (section IV-A.2) and N = 2 (section III-B.3)."""
    merge = GroupConvMerge(11, C, num_groups)
    assert merge.sizes == sizes
    nn.init.normal_(merge.omega)
    for conv in merge.convs:
        for p in (conv.norm.weight, conv.norm.bias, conv.norm.running_mean):
            nn.init.normal_(p)
        nn.init.uniform_(conv.norm.running_var, 0.5, 2)
    merge.eval()
    f = torch.randn(2, 11, C, 3, 4)
    omega = np.exp(merge.omega.detach().numpy())
    omega /= omega.sum()
    assert merge.weights().sum().item() == pytest.approx(1, abs=1e-6)
    expected, first = torch.zeros(2, C, 3, 4), 0
    for g, conv in enumerate(merge.convs):
        weight = conv.conv.weight[:, :, 0, 0]  # C × layers of the group
        for c in range(C):
            y = sum(weight[c, k] * f[:, first + k, c] for k in range(sizes[g]))
            norm = conv.norm
            y = (y - norm.running_mean[c]) / (norm.running_var[c] + norm.eps).sqrt() * norm.weight[c] + norm.bias[c]
            expected[:, c] += float(omega[g]) * y
        first += sizes[g]
    torch.testing.assert_close(merge(f), expected, rtol=0, atol=1e-5)


def direct_upsample(x, size):
    """Bilinear interpolation between pixel centres, pixel by pixel."""
    out = torch.empty(*x.shape[:2], *size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, z = (max((k + 0.5) * n / s - 0.5, 0) for k, n, s in zip((i, j), x.shape[2:], size, strict=True))
            top, left = int(y), int(z)
            bottom, right = min(top + 1, x.shape[2] - 1), min(left + 1, x.shape[3] - 1)
            a, b = y - top, z - left
            out[..., i, j] = (1 - a) * ((1 - b) * x[..., top, left] + b * x[..., top, right]) + a * (
                (1 - b) * x[..., bottom, left] + b * x[..., bottom, right]
            )
    return out


def test_injection_eq_7_and_8():
    """z_g = z_f ⊗ σ(up(Conv1×1(z_c))); z = z_g ⊕ up(Linear(z_c)), and the residual connection from z_f."""
    finet = FINet(6, C, L)
    prior, z_f = features(), torch.randn(2, 6, 9, 10)
    z_c = finet.merge(combine_modalities(prior['vi'].tokens, prior['ir'].tokens))

    def project(conv):
        mapped = torch.einsum('oc,nchw->nohw', conv.weight[:, :, 0, 0], z_c) + conv.bias.view(-1, 1, 1)
        return direct_upsample(mapped, (9, 10))

    z_g = z_f / (1 + torch.exp(-project(finet.gate)))
    expected = z_g + project(finet.linear) + z_f
    out = finet(z_f, prior)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_network_is_encoders_injection_decoder():
    net = calibrated(GFFusion(**NARROW))
    vi, ir, prior = inputs()
    z_f = torch.cat([net.encoder['vi'](vi), net.encoder['ir'](ir)], 1)
    z = net.finet(z_f, prior)
    torch.testing.assert_close(net(vi, ir, prior), net.decoder(z))


def test_without_finet_no_prior_is_needed():
    net = GFFusion(**{**NARROW, 'injection': None}).eval()
    vi, ir, prior = inputs()
    assert net(vi, ir).equal(net(vi, ir, prior))
    assert not [name for name, _ in net.named_parameters() if 'finet' in name]


# Behaviour


@pytest.mark.parametrize('merge', STRATEGIES)
@pytest.mark.parametrize('size', [(16, 16), (17, 23)])
def test_any_size_and_range(merge, size):
    fused = GFFusion(**{**NARROW, 'injection': dict(FINET, merge=merge)})(*inputs(2, *size))
    assert fused.shape == (2, 1, *size)
    assert fused.min() >= 0
    assert fused.max() <= 1


@pytest.mark.parametrize('merge', STRATEGIES)
def test_batch_equals_singles_in_eval_mode(merge):
    net = calibrated(GFFusion(**{**NARROW, 'injection': dict(FINET, merge=merge, merge_groups=2)}))
    vi, ir, prior = inputs(3)
    single = [net(vi[i : i + 1], ir[i : i + 1], {m: f[i : i + 1] for m, f in prior.items()}) for i in range(3)]
    torch.testing.assert_close(net(vi, ir, prior), torch.cat(single), rtol=0, atol=1e-6)


@pytest.mark.parametrize('merge', STRATEGIES)
def test_every_parameter_gets_a_finite_gradient(merge):
    net = GFFusion(**{**NARROW, 'injection': dict(FINET, merge=merge, merge_groups=2)})
    net(*inputs()).square().mean().backward()
    grads = {k: p.grad for k, p in net.named_parameters()}
    assert [k for k, g in grads.items() if g is None or not g.isfinite().all() or (g == 0).all()] == []


def test_both_modalities_tokens_reach_the_image():
    net = calibrated(GFFusion(**NARROW))
    vi, ir, prior = inputs()
    before = net(vi, ir, prior)
    for modality in ('vi', 'ir'):
        other = dict(prior, **{modality: features()[modality]})
        assert (net(vi, ir, other) - before).abs().max() > 1e-4


def test_errors():
    vi, ir, prior = inputs()

    def built(**options):
        return GFFusion(**{**NARROW, 'injection': dict(FINET, **options)})

    with pytest.raises(ValueError, match=r"needs a prior's tokens.* or the network injection=None"):
        GFFusion(**NARROW)(vi, ir)
    with pytest.raises(ValueError, match=r'built for 4 layers of 5 channels, the prior gave 3 of 5 channels'):
        built(num_layers=4)(vi, ir, prior)
    with pytest.raises(ValueError, match=r'built for 3 layers of 7 channels, the prior gave 3 of 5 channels'):
        built(prior_channels=7)(vi, ir, prior)
    with pytest.raises(ValueError, match=r'built for 3 layers of 5 channels, the prior gave 0\. Set'):
        built()(vi, ir, {m: PriorFeatures() for m in ('vi', 'ir')})
    with pytest.raises(ValueError, match=r"merge must be 'mean', 'group_conv' or 'weighted_sum', got 'sum'"):
        built(merge='sum')
    with pytest.raises(ValueError, match=r'merge_groups must be between 1 and the number of layers \(3\), got 4'):
        built(merge='group_conv', merge_groups=4)


def test_size_of_the_default_network():
    """docs/methods/gffusion.md states the count."""
    assert sum(p.numel() for p in GFFusion().parameters()) == 246_908


VIT = dict(embed_dim=6, vision_cfg=dict(image_size=16, layers=2, width=8, head_width=8, patch_size=8))
CLIP = dict(type='CLIPPrior', model=VIT, pretrained='random', size=16)
ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=16)
DINOV2 = dict(type='DINOv2Prior', backbone=dict(arch=ARCH, img_size=28), weights='random', layers=(1, 2, 3))
EXCHANGED = {
    'CII in the place of FINet': (
        dict(CLIP, layers=(), embedding=True),
        dict(type='GFFusion', channels=(4, 6), injection=dict(type='mmfusion.CII', embed_dim=6)),
    ),
    'DINOv2 in the place of CLIP': (
        DINOV2,
        dict(type='GFFusion', channels=(4, 6), injection=dict(FINET, prior_channels=16)),
    ),
    'FINet in the place of CII': (
        dict(CLIP, layers=(1, 2)),
        dict(type='MGFusion', channels=4, num_blocks=1, cii=dict(FINET, prior_channels=8, num_layers=2), cff=None),
    ),
}


@pytest.mark.parametrize('name', EXCHANGED)
def test_modules_are_exchanged_by_config(name):
    """A training step of each: the loss is finite, and what was put in learns."""
    prior, network = EXCHANGED[name]
    cfg = dict(type='ImageFuser', network=network, priors=dict(prior=prior), losses=dict(ssim=dict(type='SSIMLoss')))
    model = MODELS.build(cfg).train()
    wrapper = OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-2))
    part = 'finet' if network['type'] == 'GFFusion' else 'cii'
    before = {k: p.detach().clone() for k, p in getattr(model.network, part).named_parameters()}
    images = [torch.randint(0, 256, (4, 24, 24), dtype=torch.uint8) for _ in range(2)]
    assert model.train_step(dict(inputs=images, data_samples=None), wrapper)['loss'].isfinite()
    assert [k for k, p in getattr(model.network, part).named_parameters() if p.equal(before[k])] == []
