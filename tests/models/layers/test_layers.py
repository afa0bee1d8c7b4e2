"""Layers, and what two processes must agree on with one."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmfusion.models.fusers import ImageFuser
from mmfusion.models.layers import at_least_float32, min_max_normalize, rescale, sobel


def test_sobel_known_values():
    """On a ramp: slope × 8 inside; with zero padding the border differs, with replication only the slope is halved."""
    ramp = torch.arange(5.0).repeat(4, 1)[None, None]
    dx, dy = sobel(ramp)
    assert (dx[..., 1:-1, 1:-1] == 8).all()
    assert (dy[..., 1:-1, :] == 0).all()
    assert dy[0, 0, 0, 2] == 8  # zeros above: 1 + 2·2 + 3
    dx, dy = sobel(ramp, 'replicate')
    assert (dy == 0).all()
    assert dx[0, 0, 0].tolist() == [4, 8, 8, 8, 4]


@pytest.mark.parametrize('padding', ['zeros', 'replicate', 'reflect'])
def test_sobel_batch_channels_transpose(padding):
    x = torch.rand(2, 3, 6, 7)
    dx, dy = sobel(x, padding)
    assert dx.shape == dy.shape == x.shape
    for n in range(2):
        for c in range(3):
            one = sobel(x[n : n + 1, c : c + 1], padding)
            torch.testing.assert_close((dx[n, c], dy[n, c]), (one[0][0, 0], one[1][0, 0]))
    torch.testing.assert_close(sobel(x.mT, padding)[1], dx.mT)


def test_sobel_dtype_and_gradcheck():
    x = torch.rand(1, 2, 4, 5, dtype=torch.double, requires_grad=True)
    assert sobel(x)[0].dtype == torch.double
    assert torch.autograd.gradcheck(sobel, x, fast_mode=True)


def test_min_max_per_image_and_per_batch():
    x = torch.tensor([0.0, 1.0, 2.0, 6.0]).view(2, 1, 1, 2)
    assert min_max_normalize(x, per_image=True).flatten().tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(min_max_normalize(x, per_image=False), x / 6)


def test_min_max_of_constant_and_diverged_images():
    """A constant image gives 0 with zero gradient, beside one that is not; NaN is not hidden."""
    x = torch.cat([torch.full((1, 1, 2, 2), 7.0), torch.rand(1, 1, 2, 2)]).requires_grad_()
    out = min_max_normalize(x, per_image=True)
    assert (out[0] == 0).all()
    assert out[1].max() == 1
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    assert (grad[0] == 0).all()
    assert grad[1].isfinite().all()
    assert (min_max_normalize(torch.zeros(1, 1, 2, 2), per_image=False) == 0).all()
    for bad in (float('nan'), float('inf'), -float('inf')):
        y = torch.rand(1, 1, 2, 2)
        y[0, 0, 0, 0] = bad
        for per_image in (True, False):
            assert not min_max_normalize(y, per_image).isfinite().all()


def test_min_max_of_half_precision_does_not_overflow():
    """60000 − (−60000) has no half-precision number."""
    x = torch.tensor([-6e4, 0.0, 6e4]).view(1, 1, 1, 3)
    for per_image in (True, False):
        out = min_max_normalize(x.half(), per_image)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 0.5, 1.0]), rtol=0, atol=1e-3)
    assert rescale(x.half(), x.min().half(), x.max().half()).isfinite().all()
    assert min_max_normalize(x.double(), True).dtype == torch.float64


@pytest.mark.parametrize('per_image', [True, False])
def test_min_max_gradcheck(per_image):
    """The gradient reaches the extrema as well."""
    x = torch.rand(2, 1, 3, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: min_max_normalize(x, per_image), x)


def test_at_least_float32():
    dtypes = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    assert [at_least_float32(torch.zeros(1, dtype=d)).dtype for d in dtypes] == [torch.float32] * 3 + [torch.float64]


def _parts(rank, world):
    """A rank's share of the global batch, and the same models on every rank, in float64."""
    generator = torch.Generator().manual_seed(1)
    raw, weight = torch.randn(2, 4, 1, 6, 5, generator=generator, dtype=torch.double)
    vi = torch.rand(4, 3, 16, 17, generator=generator, dtype=torch.double)
    ir = torch.rand(4, 1, 16, 17, generator=generator, dtype=torch.double)
    torch.manual_seed(0)
    fuser = ImageFuser(
        dict(type='FIFN', channels=(4, 4, 6, 6), num_heads=(2, 2, 2, 1)),
        dict(
            ssim=dict(type='SSIMLoss'),
            intensity=dict(type='MaskedIntensityLoss', loss_weight=10.0),
            texture=dict(type='TextureLoss'),
        ),
    )
    fuser = fuser.double().train()
    for m in fuser.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()
    own = slice(rank * 4 // world, (rank + 1) * 4 // world)
    return (raw[own].requires_grad_(), weight[own]), (fuser, dict(vi=vi[own], ir=ir[own]))


def _results(rank, world):
    """min-max with its gradient, and the gradients of a training step."""
    (raw, weight), (fuser, inputs) = _parts(rank, world)
    value = min_max_normalize(raw, per_image=False)
    (value * weight).sum().backward()
    model = fuser
    if world > 1:
        model = nn.parallel.DistributedDataParallel(fuser)
    losses = model(inputs, mode='loss')
    sum(losses.values()).backward()
    grads = {k: p.grad for k, p in fuser.named_parameters() if p.grad is not None}
    return dict(value=value.detach(), grad=raw.grad, losses={k: v.detach() for k, v in losses.items()}, params=grads)


def worker(rank, world, folder):
    """One of the processes; started by the fixture ``two_processes``."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    torch.save(_results(rank, world), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(two_processes):
    """Results of ranks 0 and 1."""
    return two_processes(__file__)


@pytest.fixture(scope='module')
def one_process():
    return _results(0, 1)


def test_min_max_over_ranks(ranks, one_process):
    """Value and gradient of a batch split over two processes are those of the whole batch in one."""
    for key in ('value', 'grad'):
        torch.testing.assert_close(torch.cat([r[key] for r in ranks]), one_process[key], rtol=0, atol=1e-6)
    extrema = [r['value'] for r in ranks]
    # The test means something only while the extrema lie on different ranks, or one rank has both and the other none.
    assert any(not ((v == 0).any() and (v == 1).any()) for v in extrema)


def test_training_step_over_ranks(ranks, one_process):
    """FIFN with pixel losses under DDP: the gradients of one process with the global batch."""
    for name, value in one_process['losses'].items():
        mean = sum(r['losses'][name] for r in ranks) / 2
        torch.testing.assert_close(mean, value, rtol=0, atol=1e-6)
    assert len(one_process['params']) > 100
    for result in ranks:
        assert result['params'].keys() == one_process['params'].keys()
        for name, grad in one_process['params'].items():
            torch.testing.assert_close(result['params'][name], grad, rtol=0, atol=1e-6)
    assert max(g.abs().max() for g in one_process['params'].values()) > 1e-3
