"""MGFusion: what section 3 of the paper states, and its parts against the formulas written out."""

import pytest
import torch
from torch import nn

from mmfusion.models.layers import RestormerBlock, sobel
from mmfusion.models.methods.mgfusion import CFF, CII, Adapter, MGFusion
from mmfusion.models.priors import PriorFeatures

pytestmark = pytest.mark.usefixtures('one_thread')

C, E = 6, 5
PARTS = dict(cii=dict(type='CII', embed_dim=E), cff=dict(type='CFF', embed_dim=E))
NARROW = dict(channels=C, num_blocks=1, **PARTS)


def features(vi, ir):
    return dict(vi=PriorFeatures(embedding=vi), ir=PriorFeatures(embedding=ir))


def inputs(n=2, h=18, w=21, dim=E):
    return torch.rand(n, 1, h, w), torch.rand(n, 1, h, w), features(*torch.randn(2, n, dim))


def calibrated(net):
    """A network in eval mode whose batch norms saw some images, so that their statistics matter."""
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(*inputs(3))
    return net.eval()


def layers(module, kind):
    return [m for m in module.modules() if isinstance(m, kind)]


# What the paper states


@pytest.mark.parametrize('modality', ['vi', 'ir'])
@pytest.mark.parametrize('num_blocks', [1, 3])
def test_encoder_of_section_3_2(modality, num_blocks):
    """Two (3×3 conv of stride 1, BN, LeakyReLU), then N Restormer blocks; C channels."""
    encoder = MGFusion(**{**NARROW, 'num_blocks': num_blocks}).encoder[modality]
    assert len(encoder) == 2 + num_blocks
    for layer, cin in zip(encoder[:2], (1, C), strict=True):
        assert isinstance(layer.norm, nn.BatchNorm2d)
        assert isinstance(layer.activate, nn.LeakyReLU)
        assert (layer.conv.in_channels, layer.conv.out_channels) == (cin, C)
        assert (layer.conv.kernel_size, layer.conv.stride) == ((3, 3), (1, 1))
        assert layer.order == ('conv', 'norm', 'act')
    assert all(isinstance(b, RestormerBlock) for b in encoder[2:])
    assert encoder(torch.rand(1, 1, 16, 19)).shape == (1, C, 16, 19)


def test_encoders_are_identical_but_do_not_share_weights():
    """Section 3.2: "the network architectures of the IRE and VIE are identical"."""
    net = MGFusion(**NARROW)
    vi, ir = (dict(net.encoder[m].named_parameters()) for m in ('vi', 'ir'))
    assert {k: p.shape for k, p in vi.items()} == {k: p.shape for k, p in ir.items()}
    assert not {id(p) for p in vi.values()} & {id(p) for p in ir.values()}


@pytest.mark.parametrize('num_blocks', [1, 2])
def test_decoder_of_section_3_3(num_blocks):
    """N Restormer blocks, one feature extraction layer, a 3×3 convolution of stride 1, Tanh; it sees 2C channels."""
    decoder = MGFusion(**{**NARROW, 'num_blocks': num_blocks}).decoder
    assert [type(m).__name__ for m in decoder] == ['RestormerBlock'] * num_blocks + ['ConvModule', 'Conv2d', 'UnitTanh']
    assert decoder[0].norm1.normalized_shape == (2 * C,)
    assert decoder[-3].conv.in_channels == 2 * C
    assert (decoder[-2].kernel_size, decoder[-2].stride, decoder[-2].out_channels) == ((3, 3), (1, 1), 1)


@pytest.mark.parametrize(('part', 'width'), [('sep', C), ('sawp', 2 * C)])
def test_sep_and_sawp_of_sections_3_2_and_3_3(part, width):
    """Two 3×3 convolutions of stride 1 and a single ReLU."""
    net = MGFusion(**NARROW)
    module = net.cii['vi'].sep if part == 'sep' else net.cff.sawp
    assert [type(m).__name__ for m in module] == ['Conv2d', 'ReLU', 'Conv2d']
    convs = layers(module, nn.Conv2d)
    assert all((c.kernel_size, c.stride) == ((3, 3), (1, 1)) for c in convs)
    assert [c.in_channels for c in convs] == [c.out_channels for c in convs] == [width] * 2


def test_adapters_of_sections_3_2_and_3_3():
    """Adapter, IRA and VIA: two linear layers from E to C each; Adapters of both modalities and IRA, VIA are four."""
    net = MGFusion(**NARROW)
    adapters = layers(net, Adapter)
    assert len(adapters) == 4
    for adapter in adapters:
        assert [type(m).__name__ for m in adapter] == ['Linear', 'Linear']
        assert (adapter[0].in_features, adapter[-1].out_features) == (E, C)
    with_relu = CFF(C, E, adapter=dict(relu=True, hidden=9)).ira
    assert [type(m).__name__ for m in with_relu] == ['Linear', 'ReLU', 'Linear']
    assert with_relu[0].out_features == 9


def test_tanh_is_mapped_to_the_unit_interval():
    """(x + 1) / 2 of section 3.3's Tanh, which has [−1, 1]."""
    net = MGFusion(**NARROW).eval()
    seen = []
    net.decoder[-2].register_forward_hook(lambda m, i, out: seen.append(out))
    fused = net(*inputs())
    torch.testing.assert_close(fused, (nn.Tanh()(seen[0]) + 1) / 2, rtol=0, atol=0)
    for value, limit in ((50.0, 1.0), (-50.0, 0.0)):
        nn.init.constant_(net.decoder[-2].bias, value)
        assert (net(*inputs()) - limit).abs().max() < 1e-6


# CII and CFF against the formulas


def direct_conv(weight, bias, x):
    """3×3 convolution with zero padding, tap by tap."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    h, w = x.shape[2:]
    out = bias.view(1, -1, 1, 1).expand(len(x), -1, h, w).clone()
    for dy in range(3):
        for dx in range(3):
            out += torch.einsum('oi,nihw->nohw', weight[:, :, dy, dx], padded[:, :, dy : dy + h, dx : dx + w])
    return out


def direct_pair(pair, x):
    hidden = direct_conv(pair[0].weight, pair[0].bias, x).clamp(min=0)
    return torch.sigmoid(direct_conv(pair[2].weight, pair[2].bias, hidden))


def direct_adapter(adapter, embedding):
    first, second = adapter
    hidden = torch.einsum('he,e->h', first.weight, embedding) + first.bias
    return torch.einsum('ch,h->c', second.weight, hidden) + second.bias


def test_cii_against_section_3_2():
    """c = Adapter(w_v ⊙ c_v + w_i ⊙ c_i), w_v = 1 − w_i; F̂ = F + sigmoid(SEP(F)) ⊙ broadcast(c)."""
    cii = CII(C, E)
    nn.init.uniform_(cii.weight_ir)
    x, vi, ir = torch.randn(2, C, 7, 8), torch.randn(2, E), torch.randn(2, E)
    s = direct_pair(cii.sep, x)
    expected = torch.empty_like(x)
    for n in range(2):
        c = direct_adapter(cii.adapter, (1 - cii.weight_ir) * vi[n] + cii.weight_ir * ir[n])
        for k in range(C):
            expected[n, k] = x[n, k] + s[n, k] * c[k]
    torch.testing.assert_close(cii(x, features(vi, ir)), expected, rtol=0, atol=1e-5)


def test_cii_weights_sum_to_one_and_begin_equal():
    """Section 3.2: W_v = 1 − W_i. With equal embeddings the weight does not matter, whatever it is."""
    cii = CII(C, E)
    assert (cii.weight_ir == 0.5).all()
    x, embedding = torch.randn(1, C, 6, 6), torch.randn(1, E)
    before = cii(x, features(embedding, embedding))
    nn.init.normal_(cii.weight_ir, std=3)
    torch.testing.assert_close(cii(x, features(embedding, embedding)), before, rtol=0, atol=1e-5)


def test_cff_against_section_3_3():
    """F_f = [IRA(c_i) ⊙ F̂_i, VIA(c_v) ⊙ F̂_v]; F̂_f = F_f + sigmoid(SAWP(∇F_f)) ⊙ F_f."""
    cff = CFF(C, E)
    vi, ir = torch.randn(2, 2, C, 7, 8)
    c_vi, c_ir = torch.randn(2, 2, E)
    fused = torch.empty(2, 2 * C, 7, 8)
    for n in range(2):
        a_ir, a_vi = direct_adapter(cff.ira, c_ir[n]), direct_adapter(cff.via, c_vi[n])
        for k in range(C):
            fused[n, k], fused[n, C + k] = a_ir[k] * ir[n, k], a_vi[k] * vi[n, k]
    dx, dy = sobel(fused)
    expected = fused + direct_pair(cff.sawp, dx.abs() + dy.abs()) * fused
    torch.testing.assert_close(cff(vi, ir, features(c_vi, c_ir)), expected, rtol=0, atol=1e-5)


# Ablations (section 4.5)


def test_ablations_leave_out_their_part_and_no_more():
    counts = {
        name: sum(p.numel() for p in MGFusion(**{**NARROW, **switch}).parameters())
        for name, switch in dict(all={}, cii=dict(cii=None), cff=dict(cff=None)).items()
    }
    assert counts['all'] - counts['cii'] == sum(p.numel() for _ in range(2) for p in CII(C, E).parameters())
    assert counts['all'] - counts['cff'] == sum(p.numel() for p in CFF(C, E).parameters())


def test_without_cii_the_encoders_features_go_into_cff():
    """Section 4.5.1."""
    net = MGFusion(**{**NARROW, 'cii': None}).eval()
    vi, ir, prior = inputs()
    fused = net.cff(net.encoder['vi'](vi), net.encoder['ir'](ir), prior)
    torch.testing.assert_close(net(vi, ir, prior), net.decoder(fused))


def test_without_cff_the_features_are_concatenated():
    """Section 4.5.2."""
    net = MGFusion(**{**NARROW, 'cff': None}).eval()
    vi, ir, prior = inputs()
    x = [net.cii[m](net.encoder[m](image), prior) for m, image in (('ir', ir), ('vi', vi))]
    torch.testing.assert_close(net(vi, ir, prior), net.decoder(torch.cat(x, 1)))


def test_without_both_no_prior_is_needed():
    net = MGFusion(**{**NARROW, 'cii': None, 'cff': None})
    vi, ir, prior = inputs()
    assert net.eval()(vi, ir).equal(net(vi, ir, prior))


# Behaviour


@pytest.mark.parametrize('size', [(16, 16), (17, 23), (1, 1)])
def test_any_size_and_range(size):
    fused = MGFusion(**NARROW)(*inputs(2, *size))
    assert fused.shape == (2, 1, *size)
    assert fused.min() >= 0
    assert fused.max() <= 1


def test_batch_equals_singles_in_eval_mode():
    net = calibrated(MGFusion(**NARROW))
    vi, ir, prior = inputs(3)
    single = [net(vi[i : i + 1], ir[i : i + 1], {m: f[i : i + 1] for m, f in prior.items()}) for i in range(3)]
    torch.testing.assert_close(net(vi, ir, prior), torch.cat(single), rtol=0, atol=1e-6)


def test_every_parameter_gets_a_finite_gradient():
    net = MGFusion(**NARROW)
    net(*inputs()).square().mean().backward()
    grads = {k: p.grad for k, p in net.named_parameters()}
    assert [k for k, g in grads.items() if g is None or not g.isfinite().all() or (g == 0).all()] == []


def test_both_embeddings_reach_the_image():
    net = calibrated(MGFusion(**NARROW))
    vi, ir, prior = inputs()
    before = net(vi, ir, prior)
    for modality in ('vi', 'ir'):
        other = dict(prior, **{modality: PriorFeatures(embedding=torch.randn(2, E))})
        assert (net(vi, ir, other) - before).abs().max() > 1e-4


def test_errors():
    net = MGFusion(**NARROW)
    vi, ir, _ = inputs()
    with pytest.raises(ValueError, match=r"CII needs a prior's image embeddings.* embedding=True"):
        net(vi, ir)
    with pytest.raises(ValueError, match=r'embed_dim=5, the prior gave 7 dimensions \(visible\)'):
        net(vi, ir, inputs(dim=7)[2])
    with pytest.raises(ValueError, match=r'the prior gave none \(visible\) and none \(infrared\)'):
        net(vi, ir, {m: PriorFeatures() for m in ('vi', 'ir')})


def test_size_of_the_default_network():
    """C and N are ours; docs/methods/mgfusion.md states the count."""
    assert sum(p.numel() for p in MGFusion().parameters()) == 119_265
