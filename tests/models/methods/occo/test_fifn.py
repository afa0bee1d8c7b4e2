"""FIFB as printed and fast, FIFN, and what a network must keep to."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmfusion.models.fusers import ImageFuser
from mmfusion.models.methods.occo import FIFB, FIFN, FastFIFB
from mmfusion.models.methods.occo.fast import gram
from mmfusion.models.methods.occo.fifb import CrossAttention
from mmfusion.models.methods.occo.fifn import ConvUnits
from mmfusion.registry import MODELS

DATA = Path(__file__).parents[3] / 'data' / 'occo'
SWITCHES = [
    dict(zip(('spatial', 'channel', 'attention'), on, strict=True)) for on in itertools.product((1, 0), repeat=3)
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


def both(variant='official', channels=8, num_heads=4, **options):
    """The plain block and the fast one, with the same parameters."""
    plain, fast = (cls(channels, num_heads, variant, **options) for cls in (FIFB, FastFIFB))
    fast.load_state_dict(randomize(plain).state_dict())
    return plain, fast


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('switches', SWITCHES, ids=lambda v: ''.join(map(str, v.values())))
def test_plain_and_fast_fifb_agree(variant, switches, training):
    """Values and all gradients: to 1e-6 in float32 (of the largest value where that is above 1), 1e-10 in float64."""
    blocks = both(variant, **{k: bool(v) for k, v in switches.items()})
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-10)):
        vi, ir, probe = (torch.randn(2, 8, 5, 7, dtype=dtype) for _ in range(3))
        results = []
        for block in blocks:
            block.to(dtype).train(training)
            inputs = [vi.requires_grad_(), ir.requires_grad_(), *(p for p in block.parameters() if p.requires_grad)]
            out = block(vi, ir)
            results.append((out, *torch.autograd.grad((out * probe).mean(), inputs)))
        assert results[0][0].std() > 0.1
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1, b.abs().max().item()))


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_fifb_float32_on_many_tokens(variant):
    """At 480×640 the Gram matrix sums 307,200 products; float32 stays within 1e-5 of the plain block in float64."""
    plain, fast = both(variant, 4)
    vi, ir = torch.rand(2, 1, 4, 480, 640)
    with torch.no_grad():
        ours, direct = fast.eval()(vi, ir), plain.eval().double()(vi.double(), ir.double())
    assert ((ours - direct).norm() / direct.norm()).item() < 1e-5
    assert ((ours - direct).abs().max() / direct.abs().max()).item() < 1e-5


def test_the_papers_attention_written_out():
    """φ̂_ir = Softmax(Q_vi K_ir) V_ir over channels, of products averaged over the tokens; Q, K, V are linear in ν."""
    attention = CrossAttention(3, paper=True)
    enhanced = dict(vi=torch.randn(1, 10, 3), ir=torch.randn(1, 10, 3))
    q, _, _ = attention.kv['vi'](enhanced['vi'])[0].T.split(3)
    _, k, v = attention.kv['ir'](enhanced['ir'])[0].T.split(3)  # C×HW each
    expected = (q @ k.T / 10).softmax(1) @ v
    torch.testing.assert_close(attention(enhanced)['ir'][0].T, expected)


def test_fifb_updates_running_statistics():
    """Training moves the statistics that evaluation then uses."""
    block = FastFIFB(8, 2).train()
    block(torch.rand(2, 8, 6, 6) + 1, torch.rand(2, 8, 6, 6))
    for norm in (block.refine.norm, block.refine.inner_norm):
        assert norm.num_batches_tracked == 1
        assert norm.running_mean.abs().max() > 0


def test_weights_of_the_spatial_softmax_average_one():
    """Over HW tokens a softmax averages 1/HW, which would all but remove the branch."""
    weights = FIFB(4, variant='paper').spatial_weights('vi', torch.randn(1, 35, 4))
    assert weights.shape == (1, 35, 1)
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)


def test_fifb_modalities_are_not_exchangeable_by_mistake():
    """Exchanging the inputs changes the result: each modality has its own parameters."""
    block = randomize(FastFIFB(8, 4)).eval()
    vi, ir = torch.rand(2, 1, 8, 6, 6)
    assert (block(vi, ir) - block(ir, vi)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(variant='public'), "variant must be 'official' or 'paper', got 'public'"),
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


def seeded_state(net):
    """A state dict whose numbers NumPy draws: the one that the public code's numbers are of."""
    rng, state = np.random.RandomState(0), net.state_dict()
    for name in sorted(state):
        value = state[name]
        if value.is_floating_point():
            x = rng.standard_normal(value.shape)
            if value.ndim > 1:
                x = x * (2 / value[0].numel()) ** 0.5
            elif name.endswith(('running_var', 'weight')):
                x = 1 + 0.3 * np.abs(x)
            else:
                x = 0.1 * x
            state[name] = torch.from_numpy(np.asarray(x, np.float32))
    return state


def test_public_tests_take_each_images_own_statistics():
    """Raw output and 8-bit image that bociic/OCCO's main.py gives at 1c22560, which never leaves training mode."""
    options = dict(channels=(4, 8, 12, 16), test_norm='image')
    color = dict(type='mmfusion.LuminanceColor', inverse='rounded')
    fuser = ImageFuser(dict(type='mmfusion.FIFN', **options), color=color, test_cfg=dict(rounding='truncate')).eval()
    fuser.network.load_state_dict(seeded_state(fuser.network))
    before = {k: v.clone() for k, v in fuser.state_dict().items()}
    rng = np.random.RandomState(1)

    def image(channels):
        coarse = np.kron(rng.randint(40, 216, (channels, 6, 8)), np.ones((1, 4, 4)))[:, :21, :30]
        return torch.from_numpy((coarse + rng.randint(-40, 40, (channels, 21, 30))) / 255).float()[None]

    vi, ir = image(3), image(1)
    with np.load(DATA / 'tested_image.npz') as numbers, torch.no_grad():
        batch = fuser.run(vi, ir)
        raw = fuser.network.raw(batch['vi'], ir)
        expected = torch.from_numpy(numbers['raw'])
        assert ((raw - expected).norm() / expected.norm()).item() < 1e-5
        ours = (batch['fused_rgb'][0] * 255).round().byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(ours, numbers['image'])
        # Of two images each has its own; the running statistics stay.
        both = fuser.network(torch.cat([batch['vi'], 0.5 * ir]), torch.cat([ir, ir]))
        torch.testing.assert_close(both[:1], fuser.network(batch['vi'], ir), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in fuser.state_dict().items())
    with pytest.raises(ValueError, match=r"test_norm='image' batch norms need the whole image"):
        fuser.network.fuse_tiled(ir, ir, (16, 16))


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
    net = small(variant=variant, fifb={k: bool(v) for k, v in switches.items()}).train()
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
    differences = []
    for seed in range(5):
        torch.manual_seed(seed)
        net = small(variant=variant).train(training)
        vi, ir = torch.rand(2, 2, 1, 24, 24)
        expected = net(vi, ir).detach()
        with torch.autocast('cpu', torch.bfloat16):
            out = net(vi, ir)
        assert out.dtype == torch.float32
        assert out.min() == 0
        assert out.max() == 1
        differences.append((out - expected).abs().mean())
        out.square().mean().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    # The stretch of a random network's nearly flat image enlarges some differences beyond measure: of five, the median.
    assert torch.stack(differences).median() < 0.025


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
    with pytest.raises(ValueError, match=r"test_norm must be 'running' or 'image', got 'batch'"):
        small(test_norm='batch')
    with pytest.raises(
        ValueError, match=r"test_norm='image' is how the public code tests; it needs variant='official'"
    ):
        small(test_norm='image', variant='paper')
    with pytest.raises(ValueError, match=r'must be at least 8×8, got 7×20 \(height×width\)'):
        small()(torch.rand(1, 1, 7, 20), torch.rand(1, 1, 7, 20))


def test_another_block_by_its_name():
    """The plain block in the place of the fast one: the same image, and its tiles are refused."""
    nets = [
        MODELS.build(dict(type='FIFN', channels=(4, 4, 4, 4), fifb=fifb)).eval()
        for fifb in (dict(spatial=False), dict(type='mmfusion.FIFB', spatial=False))
    ]
    assert [type(net.fifb[0]) for net in nets] == [FastFIFB, FIFB]
    nets[1].load_state_dict(nets[0].state_dict())
    vi, ir = torch.rand(2, 1, 1, 16, 24)
    torch.testing.assert_close(nets[0](vi, ir), nets[1](vi, ir), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match='FastFIFB'):
        nets[1].fuse_tiled(vi, ir, (8, 8))


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
