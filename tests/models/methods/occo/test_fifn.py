"""FIFN and FIFB against a second, direct implementation, and what a network must keep to."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.models.methods.occo import FIFB, FIFN
from mmfusion.models.methods.occo.fifb import gram
from mmfusion.models.methods.occo.fifn import ConvUnits
from mmfusion.registry import MODELS

SWITCHES = [
    dict(zip(('spatial', 'channel', 'attention'), on, strict=True)) for on in itertools.product((1, 0), repeat=3)
]
CASES = [(variant, switches) for variant in ('official', 'paper') for switches in SWITCHES]
CASES += [
    (variant, dict(attention_kind=kind))
    for variant in ('official', 'paper')
    for kind in ('linear', 'channel', 'spatial')
]
CASES += [
    (variant, dict(spatial_softmax=softmax))
    for variant in ('official', 'paper')
    for softmax in (False, True, 'literal')
]


def randomize(module, seed=0):
    """Norms with weights and statistics that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(m.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(m.bias, std=0.3, generator=generator)
            if not isinstance(m, nn.LayerNorm):
                m.running_mean.normal_(std=0.3, generator=generator)
                m.running_var.uniform_(0.5, 1.5, generator=generator)
    return module


def batch_norm(x, norm, training):
    """Batch norm of N×C×H×W, written out."""
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, var = norm.running_mean, norm.running_var
    mean, var, weight, bias = (v[:, None, None] for v in (mean, var, norm.weight, norm.bias))
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


def naive_attention(block, tokens, own, other):
    """Attention branch of one modality with K, V (and Q) as full matrices."""
    part = block.attention
    if part.kind == 'linear':
        k, v = part.kv[other](tokens[other]).chunk(2, dim=-1)
        c = k.shape[-1]
        heads = []
        for index in torch.arange(c).view(part.num_heads, -1):
            context = (k[..., index].transpose(1, 2) @ v[..., index] * len(index) ** -0.5).softmax(dim=-2)
            heads.append(tokens[own][..., index] @ context)
        return torch.cat(heads, dim=-1)
    q = part.kv[other](tokens[other]).chunk(3, dim=-1)[0]
    _, k, v = part.kv[own](tokens[own]).chunk(3, dim=-1)
    length, c = q.shape[1:]
    if part.kind == 'spatial':
        return (q @ k.transpose(1, 2) / c**0.5).softmax(dim=-1) @ v
    attention = torch.einsum('nlc,nld->ncd', q, k).div(length).softmax(dim=-1)
    return torch.einsum('ncd,nld->nlc', attention, v)


def naive_fifb(block, vi, ir, variant, softmax):
    """FIFB as the papers' notes describe it: nothing folded, concatenations formed."""
    paper, (n, c, h, w) = variant == 'paper', vi.shape
    maps = dict(vi=vi, ir=ir)
    x = {m: f.flatten(2).transpose(1, 2) for m, f in maps.items()}
    enhanced = dict(maps)
    if block.channel is not None:
        pooled = [f.flatten(2).mean(2) for f in maps.values()] + [f.flatten(2).max(2).values for f in maps.values()]
        weights = torch.sigmoid(block.channel.mlp(torch.cat(pooled, dim=1)))
        enhanced = dict(vi=vi * weights[:, :c, None, None], ir=ir * weights[:, c:, None, None])
    outputs = []
    for own, other in (('vi', 'ir'), ('ir', 'vi')):
        branches = []
        if len(block.spatial):
            logits = block.spatial[own if paper else 'vi'].mlp(x[own])
            s = torch.sigmoid(logits)
            if softmax:
                s = logits.softmax(dim=1) * (1 if softmax == 'literal' else h * w)
            branches.append(s * x[own])
        if block.attention is not None:
            tokens = {m: F.relu(block.attention.proj[m](f.flatten(2).transpose(1, 2))) for m, f in enhanced.items()}
            branches.append(naive_attention(block, tokens, own, other))
        elif block.channel is not None:
            branches.append(enhanced[own].flatten(2).transpose(1, 2))
        out = x[own]
        if branches:
            out = out + F.linear(torch.cat(branches, -1), block.merge[own].weight, block.merge[own].bias)
        out = out.transpose(1, 2).reshape(n, c, h, w)
        norm = block.norm[own]
        if paper:
            out = batch_norm(out, norm, block.training)
        else:
            out = F.layer_norm(out.permute(0, 2, 3, 1), (c,), norm.weight, norm.bias).permute(0, 3, 1, 2)
        outputs.append(out)
    both, refine = torch.cat(outputs, dim=1), block.refine
    conv = {k: getattr(refine, k).weight[..., None, None] for k in ('reduce', 'expand', 'residual')}
    y = F.conv2d(both, conv['reduce'], refine.reduce.bias)
    y = F.relu(F.conv2d(y, refine.depthwise.weight, refine.depthwise.bias, padding=1, groups=c))
    y = F.conv2d(y, conv['expand'], refine.expand.bias)
    if not paper:
        y = batch_norm(y, refine.inner_norm, block.training)
    return batch_norm(y + F.conv2d(both, conv['residual']), refine.norm, block.training)


def softmax_of(variant, options):
    """The spatial softmax that a case means."""
    return options.get('spatial_softmax', variant == 'paper')


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize(('variant', 'options'), CASES, ids=lambda v: str(v).replace(' ', ''))
def test_fifb_equals_direct_implementation(variant, options, training):
    """Values and all gradients, in float64."""
    options = {k: v if isinstance(v, str) else bool(v) for k, v in options.items()}
    block = randomize(FIFB(8, 4, variant, **options)).double().train(training)
    vi, ir = (torch.randn(2, 8, 5, 7, dtype=torch.double, requires_grad=True) for _ in range(2))
    probe = torch.randn(2, 8, 5, 7, dtype=torch.double)
    inputs = [vi, ir, *(p for p in block.parameters() if p.requires_grad)]
    results = []
    for out in (block(vi, ir), naive_fifb(block, vi, ir, variant, softmax_of(variant, options))):
        results.append((out, torch.autograd.grad((out * probe).sum(), inputs)))
    (ours, our_grads), (direct, direct_grads) = results
    assert direct.std() > 0.1
    torch.testing.assert_close(ours, direct, rtol=1e-10, atol=1e-10)
    for a, b in zip(our_grads, direct_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_fifb_float32_on_many_tokens(variant):
    """At 480×640 the Gram matrix sums 307,200 products; float32 stays within 1e-5 of the direct one in float64."""
    block = randomize(FIFB(16, 4, variant)).eval()
    vi, ir = torch.rand(2, 1, 16, 480, 640)
    with torch.no_grad():
        ours = block(vi, ir)
        direct = naive_fifb(block.double(), vi.double(), ir.double(), variant, variant == 'paper')
    assert ((ours - direct).norm() / direct.norm()).item() < 1e-5
    assert ((ours - direct).abs().max() / direct.abs().max()).item() < 1e-5


def test_fifb_updates_running_statistics():
    """Training moves the statistics that evaluation then uses."""
    block = FIFB(8, 2).train()
    block(torch.rand(2, 8, 6, 6) + 1, torch.rand(2, 8, 6, 6))
    for norm in (block.refine.norm, block.refine.inner_norm):
        assert norm.num_batches_tracked == 1
        assert norm.running_mean.abs().max() > 0


def test_fifb_literal_softmax_all_but_removes_the_branch():
    """Over HW tokens a softmax averages 1/HW; the default multiplies by HW, and its weights average 1."""
    block = FIFB(4, variant='paper', attention=False, channel=False)
    tokens = torch.randn(1, 35, 4)
    weights = block.spatial['vi'](tokens)
    assert weights.sum().item() == pytest.approx(1, abs=1e-6)
    assert weights.shape == (1, 35, 1)


def test_fifb_modalities_are_not_exchangeable_by_mistake():
    """Exchanging the inputs changes the result: each modality has its own parameters."""
    block = randomize(FIFB(8, 4)).eval()
    vi, ir = torch.rand(2, 1, 8, 6, 6)
    assert (block(vi, ir) - block(ir, vi)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(variant='public'), "variant must be 'official' or 'paper', got 'public'"),
        (dict(attention_kind='full'), "attention must be 'linear', 'channel' or 'spatial', got 'full'"),
        (dict(num_heads=3), r'channels \(8\) must be a multiple of num_heads \(3\)'),
    ],
)
def test_fifb_errors(options, message):
    with pytest.raises(ValueError, match=message):
        FIFB(8, **options)


def test_gram_of_half_precision_does_not_overflow():
    """4096 squares of 100 are 4e7, far beyond half precision's 65504."""
    tokens = torch.full((1, 4096, 2), 100.0)
    expected = torch.full((1, 2, 2), 4.096e7)
    for dtype in (torch.float16, torch.bfloat16):
        result = gram(tokens.to(dtype))
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected)
    with torch.autocast('cpu', torch.bfloat16):
        assert gram(tokens).dtype == torch.float32
    assert gram(tokens.double()).dtype == torch.float64


def small(**kwargs):
    """A narrow FIFN with norms that do something."""
    return randomize(FIFN(**{**dict(channels=(4, 6, 8, 10), num_heads=(2, 2, 2, 1)), **kwargs}))


@pytest.mark.parametrize('norm', [True, False])
def test_conv_units_fold_norm(norm):
    """With fixed statistics the folded convolution equals convolution, then norm."""
    units = randomize(ConvUnits(3, 5, norm)).double()
    x = torch.randn(2, 3, 6, 7, dtype=torch.double)
    expected = x
    units.eval()
    for layer in units:
        expected = batch_norm(expected, layer, False) if isinstance(layer, nn.BatchNorm2d) else layer(expected.clone())
    torch.testing.assert_close(units(x), expected, rtol=1e-12, atol=1e-12)


def test_parameters_of_the_public_size():
    """The public code's channels give its 3.62 M parameters."""
    assert sum(p.numel() for p in FIFN().parameters()) == pytest.approx(3.62e6, rel=2e-3)


@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('size', [(8, 8), (9, 15), (24, 17)])
def test_any_size_gives_that_size_in_unit_range(variant, size):
    net = small(variant=variant).eval()
    with torch.no_grad():
        out = net(torch.rand(2, 1, *size), torch.rand(2, 1, *size))
    assert out.shape == (2, 1, *size)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.amin((1, 2, 3)), torch.zeros(2))
    torch.testing.assert_close(out.amax((1, 2, 3)), torch.ones(2))


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_batch_equals_single_in_eval(variant):
    net = small(variant=variant).eval()
    vi, ir = torch.rand(2, 3, 1, 16, 19)
    ir[1] *= 0.3
    with torch.no_grad():
        whole = net(vi, ir)
        alone = torch.cat([net(v[None], i[None]) for v, i in zip(vi, ir, strict=True)])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-5)


def test_training_stretches_over_the_batch():
    """In training the extrema are those of the batch, so that not every image reaches 0 and 1."""
    net = small().train()
    out = net(torch.rand(3, 1, 16, 16), torch.rand(3, 1, 16, 16))
    assert out.min() == 0
    assert out.max() == 1
    assert (out.amax((1, 2, 3)) < 1).sum() == 2


def test_training_stretches_each_image_where_asked():
    """Then a training pass is the inference pass, but for what batch norm does."""
    net = small(stretch='image').train()
    out = net(torch.rand(3, 1, 16, 16), torch.rand(3, 1, 16, 16))
    assert (out.amin((1, 2, 3)) == 0).all()
    assert (out.amax((1, 2, 3)) == 1).all()


def test_decoder_norm_only_in_the_paper_variant():
    """The public decoder has no batch norm; eq. 3's Ω is batch norm in the paper variant only."""
    counts = {}
    for variant in ('official', 'paper'):
        net = FIFN(channels=(4, 4, 4, 4), variant=variant)
        counts[variant] = [
            sum(isinstance(m, nn.BatchNorm2d) for m in part.modules()) for part in (net.decoder, net.fifb)
        ]
        assert any(isinstance(m, nn.LayerNorm) for m in net.modules()) == (variant == 'official')
    assert counts == dict(official=[0, 8], paper=[6, 4])


@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('switches', SWITCHES, ids=lambda v: ''.join(map(str, v.values())))
def test_every_trainable_parameter_gets_a_gradient(variant, switches):
    """DDP would wait for any other; the public code's second spatial MLP, never called, is therefore frozen."""
    net = small(variant=variant, **{k: bool(v) for k, v in switches.items()}).train()
    net(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    trained = [name for name, p in net.named_parameters() if p.grad is None and p.requires_grad]
    assert trained == []
    frozen = [f'fifb.{i}.spatial.ir.' for i in range(4)] if variant == 'official' and switches['spatial'] else []
    assert {name.rsplit('mlp', 1)[0] for name in without} == set(frozen)


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_gradcheck(variant):
    net = FIFN(channels=(2, 2, 2, 2), num_heads=(1, 1, 1, 1), variant=variant)
    randomize(net).double().eval()
    vi, ir = (torch.rand(1, 1, 8, 9, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(net.raw, (vi, ir), fast_mode=True)


def test_float64_stays_float64():
    """Nothing on the way casts down: float32 differs from float64 by rounding only."""
    net = small().eval()
    vi, ir = torch.rand(2, 1, 1, 24, 24)
    with torch.no_grad():
        single = net(vi, ir)
        double = net.double()(vi.double(), ir.double())
    assert double.dtype == torch.float64
    assert 0 < (single - double).abs().max() < 1e-5


@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
def test_autocast(variant, training):
    """Mixed precision: float32 in [0, 1] out, near the full-precision result, finite gradients."""
    net = small(variant=variant).train(training)
    vi, ir = torch.rand(2, 2, 1, 24, 24)
    expected = net(vi, ir).detach()
    with torch.autocast('cpu', torch.bfloat16):
        out = net(vi, ir)
    assert out.dtype == torch.float32
    assert out.min() == 0
    assert out.max() == 1
    assert (out - expected).abs().mean() < 0.05
    out.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_whole_module_in_bfloat16():
    net = small().eval()
    vi, ir = torch.rand(2, 1, 1, 16, 16)
    with torch.no_grad():
        expected = net(vi, ir)
        out = net.bfloat16()(vi.bfloat16(), ir.bfloat16())
    assert out.dtype == torch.float32
    assert (out - expected).abs().mean() < 0.05


def test_diverged_network_gives_nan_not_a_black_image():
    net = small().eval()
    nn.init.constant_(net.final.bias, float('nan'))
    assert net(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)).isnan().all()


def test_errors():
    with pytest.raises(ValueError, match=r'FIFN has four levels; got 3 channels and 4 num_heads'):
        FIFN(channels=(4, 4, 4))
    with pytest.raises(ValueError, match=r"stretch must be 'batch' or 'image', got 'pixel'"):
        small(stretch='pixel')
    with pytest.raises(ValueError, match=r'must be at least 8×8, got 7×20 \(height×width\)'):
        small()(torch.rand(1, 1, 7, 20), torch.rand(1, 1, 7, 20))


def test_built_from_config():
    net = MODELS.build(dict(type='FIFN', channels=(4, 4, 4, 4), attention_kind='spatial', variant='paper'))
    assert {b.attention.kind for b in net.fifb} == {'spatial'}


@pytest.mark.data
def test_parity_with_public_implementation(data_dir):
    """Output before the min-max stretch, three sizes, one of them odd: relative error ≤ 1e-5."""
    from mmfusion.models.methods.occo.official import from_official

    parity = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)
    net = FIFN(channels=parity['channels']).eval()
    net.load_state_dict(from_official(parity['state_dict']))
    assert len(parity['net']) == 3
    for case in parity['net']:
        with torch.no_grad():
            raw = net.raw(case['vi'], case['ir'])
        assert raw.shape == case['raw'].shape
        assert ((raw - case['raw']).abs().max() / case['raw'].abs().max()).item() <= 1e-5
