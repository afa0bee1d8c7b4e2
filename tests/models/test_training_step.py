"""A training step of MGFusion and of GFFusion whole, on the demos' models: in two processes, and in mixed precision."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from torch import nn

from mmfusion.models.priors import held_priors
from mmfusion.registry import DATASETS, MODELS

pytestmark = pytest.mark.usefixtures('one_thread')
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = dict(gffusion='gffusion/gffusion_joint_demo-random.py', mgfusion='mgfusion/mgfusion_demo-random-clip.py')


def build(name, rank=0, world=1):
    """The model in training mode, its optimizer, and a rank's share of a batch of four scenes."""
    cfg = Config.fromfile(ROOT / 'configs' / CONFIGS[name])
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    data = DATASETS.build(dict(cfg.train_dataloader.dataset, num=4, size=(96, 128)))
    data.set_epoch(0, 0)  # what is random in a sample depends on its index alone
    batch = pseudo_collate([data[k] for k in range(rank * 4 // world, (rank + 1) * 4 // world)])
    return model, build_optim_wrapper(model, cfg.optim_wrapper), batch


def step(name, rank=0, world=1):
    """One step by the optimizer of the config: what is logged, the gradients, the parameters before and after."""
    model, wrapper, batch = build(name, rank, world)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # with statistics of its own each process would be a model of its own
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    grads = {}
    wrapper.optimizer.register_step_pre_hook(
        lambda *_: grads.update({k: p.grad.clone() for k, p in model.named_parameters()})
    )
    trained = model
    if world > 1:  # as tools/dist_train.sh wraps it on a CPU
        trained = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
    logged = trained.train_step(batch, wrapper)
    logged = {k: v.item() for k, v in logged.items()}
    return dict(logged=logged, grads=grads, before=before, after={k: p.detach() for k, p in model.named_parameters()})


def worker(rank, world, folder):
    """One of the processes, started by the fixture ``two_processes``: a step of each method."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    torch.save({name: step(name, rank, world) for name in CONFIGS}, f'{folder}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(two_processes):
    """What ranks 0 and 1 give, each with half of the batch."""
    return two_processes(__file__)


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_two_processes(ranks, name):
    """Gradients and parameters are the same in both; losses (their mean) and gradients those of one process.

    In float32 sums in another order differ by some units in the last place, 6e-8 of the largest terms.
    """
    alone, (first, second) = step(name), [rank[name] for rank in ranks]
    for key in ('before', 'grads', 'after'):
        assert first[key].keys() == second[key].keys() == alone[key].keys()
        assert all(torch.equal(v, second[key][k]) for k, v in first[key].items())
    assert all(torch.equal(v, alone['before'][k]) for k, v in first['before'].items())
    assert sum(not torch.equal(v, first['before'][k]) for k, v in first['after'].items()) > 20
    assert sum('loss' in k for k in alone['logged']) == (4 if name == 'gffusion' else 3)
    for k, value in alone['logged'].items():
        assert (first['logged'][k] + second['logged'][k]) / 2 == pytest.approx(value, rel=1e-5), k
        assert first['logged'][k] != second['logged'][k], k
    for k, value in alone['grads'].items():
        torch.testing.assert_close(first['grads'][k], value, rtol=0, atol=1e-4 * value.abs().max().item() + 1e-9)


@pytest.mark.parametrize('name', CONFIGS)
def test_mixed_precision(name):
    """Under bfloat16 autocast losses are float32 and near those of full precision; gradients are finite, and point alike.

    bfloat16 keeps 8 bits: each layer rounds by at most 2⁻⁹ of its values. Independent roundings of some 20 layers, as
    many as lie between the images and a loss here, add up to √20 · 2⁻⁹ = 0.9 %: losses, means over all pixels, must be
    within 1 %. Gradients pass the layers twice and are no means: 10 % of their norm, a cosine of 0.995.
    """
    model, _, batch = build(name)
    batch = model.data_preprocessor(batch, True)

    def losses_and_gradient():
        model.zero_grad()
        losses = model(**batch, mode='loss')
        model.parse_losses(losses)[0].backward()
        return losses, torch.cat([p.grad.flatten() for p in model.parameters()])

    expected, gradient = losses_and_gradient()
    with torch.autocast('cpu', torch.bfloat16):
        losses, half = losses_and_gradient()
    for k in (k for k in losses if 'loss' in k):
        assert losses[k].dtype == torch.float32
        assert losses[k].item() == pytest.approx(expected[k].item(), rel=0.01), k
        assert losses[k] != expected[k], k  # autocast was on
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    assert torch.cosine_similarity(half, gradient, dim=0) > 0.995
    assert (half - gradient).norm() < 0.1 * gradient.norm()


@pytest.mark.cuda
@pytest.mark.parametrize('name', CONFIGS)
def test_amp_on_a_gpu(name):
    """Steps of AmpOptimWrapper in half precision, with losses scaled by 128: losses stay finite; priors are not touched."""
    model, wrapper, batch = build(name)
    model = model.cuda()
    wrapper = AmpOptimWrapper(loss_scale=128.0, optimizer=wrapper.optimizer)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    for _ in range(3):
        logged = model.train_step(batch, wrapper)
        assert all(torch.isfinite(v) for v in logged.values())
    assert any(not torch.equal(p, before[k]) for k, p in model.named_parameters())
    assert all(p.grad is None for prior in held_priors(model).values() for p in prior.parameters())
