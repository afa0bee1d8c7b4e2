"""An adversarial step in two processes is that of one process with the whole batch."""

import copy

import pytest
import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch import nn

from mmfusion.engine.optim import AutocastOptimWrapper, ModuleOptimWrapperConstructor, use_amp
from mmfusion.models.parallel import StepDataParallel, average_gradients, match_gradient_layout
from mmfusion.registry import MODEL_WRAPPERS, MODELS

pytestmark = pytest.mark.usefixtures('one_thread')
SGD = dict(optimizer=dict(type='SGD', lr=0.02))


def build(seed=0):
    judge = dict(type='mmfusion.Discriminator', channels=(4, 8), loss_weight=0.1)
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type='mmfusion.AdversarialFuser',
            network=dict(type='mmfusion.Lite', channels=(4, 8), depth=1, margin=4),
            losses=dict(intensity=dict(type='mmfusion.MaxIntensityLoss')),
            discriminators=dict(
                detail=dict(inputs=dict(real='vi', fake='fused'), **judge),
                target=dict(inputs=dict(real='ir', fake='fused'), **judge),
            ),
        )
    )
    return model.train()


def steps(rank=0, world=1):
    """Three steps on a rank's share of four pairs; parameters afterwards."""
    model = build(seed=rank)  # other numbers in each process: those of the first count
    trained = StepDataParallel(model) if world > 1 else model
    optimizers = ModuleOptimWrapperConstructor(dict(fuser=SGD, discriminators=SGD))(trained)
    torch.manual_seed(5)
    vi, ir = torch.rand(3, 4, 3, 24, 24), torch.rand(3, 4, 1, 24, 24)
    share = slice(rank * 4 // world, (rank + 1) * 4 // world)
    for k in range(3):
        pairs = (255 * torch.cat([vi[k, share], ir[k, share]], 1)).byte()
        trained.train_step(dict(inputs=list(pairs), data_samples=None), optimizers)
    return {k: p.detach().clone() for k, p in model.named_parameters()}


def worker(rank, world, folder):
    """One of the processes, started by the fixture ``two_processes``."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    after = steps(rank, world)
    layer = nn.Linear(1, 1)
    layer.weight.grad = torch.full((1, 1), 4.0) if rank else None  # used by one process; the bias by none
    average_gradients(layer.parameters())
    torch.save(dict(after=after, weight=layer.weight.grad, bias=layer.bias.grad is None), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_processes(two_processes):
    alone, (first, second) = steps(), two_processes(__file__)
    before = dict(build().named_parameters())
    for name, value in alone.items():
        assert torch.equal(first['after'][name], second['after'][name]), name
        torch.testing.assert_close(first['after'][name], value, rtol=0, atol=1e-6)
    for part in ('network', 'discriminators.detail', 'discriminators.target'):
        assert any(not torch.equal(alone[k], before[k]) for k in alone if k.startswith(part)), part
    for rank in (first, second):
        assert rank['weight'].item() == 2.0
        assert rank['bias']


def test_one_process_keeps_its_gradients():
    layer = nn.Linear(1, 1)
    layer.weight.grad = torch.full((1, 1), 4.0)
    average_gradients(layer.parameters())
    assert layer.weight.grad.item() == 4.0
    assert layer.bias.grad is None


def test_the_wrapper_is_found_by_name():
    assert MODEL_WRAPPERS.get(MODELS.get('mmfusion.AdversarialFuser').model_wrapper) is StepDataParallel


def test_gradients_have_the_strides_of_their_parameters():
    """Otherwise DistributedDataParallel warns of "Grad strides do not match bucket view strides", as it does of depthwise
    convolutions behind a normalization that permutes.
    """
    layer, images = nn.Conv2d(8, 8, 3, groups=8), torch.rand(2, 8, 16, 16).to(memory_format=torch.channels_last)
    layer(images).square().sum().backward()
    plain = layer.weight.grad.clone()
    layer.zero_grad()
    match_gradient_layout(layer)
    layer(images).square().sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()
    assert torch.equal(layer.weight.grad, plain)


def test_mixed_precision_reaches_each_module():
    """``use_amp`` turns it on in the optimizer of each; network and discriminators then compute in bfloat16."""
    if torch.cuda.is_available():
        pytest.skip('a CPU: on a GPU the types are of another wrapper')
    configs = dict(fuser=copy.deepcopy(SGD), discriminators=copy.deepcopy(SGD))
    use_amp(configs)
    model, seen = build(), {}
    optimizers = ModuleOptimWrapperConstructor(configs)(model)
    assert {type(wrapper) for wrapper in optimizers.values()} == {AutocastOptimWrapper}
    assert sorted(optimizers.keys()) == ['detail', 'fuser', 'target']
    for name, part in dict(fuser=model.network, **model.discriminators).items():
        conv = next(m for m in part.modules() if isinstance(m, nn.Conv2d))
        conv.register_forward_hook(lambda _, args, out, name=name: seen.setdefault(name, set()).add(out.dtype))
    pairs = torch.randint(0, 256, (2, 4, 24, 24), dtype=torch.uint8)
    values = model.train_step(dict(inputs=list(pairs), data_samples=None), optimizers)
    assert seen == {name: {torch.bfloat16} for name in ('fuser', 'detail', 'target')}
    assert all(torch.as_tensor(value).isfinite() for value in values.values())


def test_one_optimizer_for_all_is_refused():
    model = build()
    together = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    pairs = torch.zeros(1, 4, 24, 24, dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=r"needs an optimizer for each module: optim_wrapper=dict\(constructor='mmfusion"
    ):
        model.train_step(dict(inputs=list(pairs), data_samples=None), together)
