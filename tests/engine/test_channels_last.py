"""ChannelsLastHook."""

from types import SimpleNamespace

import torch

from mmfusion.engine.hooks import ChannelsLastHook
from mmfusion.registry import MODELS


def test_layout_changes_and_values_stay():
    torch.manual_seed(0)
    network = MODELS.build(dict(type='mmfusion.Lite')).eval()
    pair = torch.rand(2, 1, 1, 32, 48)
    with torch.no_grad():
        expected = network(*pair)['fused']
        ChannelsLastHook().before_run(SimpleNamespace(model=network))
        weights = [p for p in network.parameters() if p.dim() == 4 and min(p.shape) > 1]
        assert weights
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
        torch.testing.assert_close(network(*pair)['fused'], expected, rtol=0, atol=1e-6)
