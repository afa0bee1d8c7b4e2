"""What a model costs: parameters, operations and memory by hand; seconds above 0."""

import torch
from torch import nn

from mmfusion.models.cost import PeakMemory, measure
from mmfusion.registry import MODELS


def test_peak_of_a_chain_of_layers():
    """The most that is alive at one time: the input of a layer, which goes when the next has its own, and its output."""
    net = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    x = torch.rand(1, 1, 100, 100)
    with torch.no_grad(), PeakMemory() as memory:
        out = net(x)
    plane = 100 * 100 * 4
    assert memory.peak == 2 * 8 * plane
    assert memory.now == plane
    del out
    assert memory.now == 0
    with torch.no_grad(), PeakMemory() as memory:
        net[1](net[0](x)).view(-1)[:5].add_(1)  # views and what is done in place hold nothing of their own
    assert memory.peak == 2 * 8 * plane


def test_cost_of_a_fuser():
    model = MODELS.build(dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.PMGI'))).eval()
    cost = measure(model, 24, 32, repeats=1)
    assert cost.parameters == 42017
    assert 0.5e-3 * 25.5e9 < cost.flops * (480 * 640) / (24 * 32) * 1e-3 < 1.5e-3 * 25.5e9
    assert cost.seconds > 0
    assert cost.memory > 24 * 32 * 4
