"""Optimizer wrappers of configs that are written for GPUs."""

import pytest
import torch
from mmengine.optim import AmpOptimWrapper

from mmfusion.engine.optim import without_amp
from mmfusion.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class OwnAmpWrapper(AmpOptimWrapper):
    """A user's subclass, with an option of its own."""

    def __init__(self, patience=3, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is here, on which such a wrapper stays')
@pytest.mark.parametrize(
    'kind', ['AmpOptimWrapper', 'mmengine.AmpOptimWrapper', 'mmfusion.OwnAmpWrapper', OwnAmpWrapper]
)
def test_mixed_precision_of_a_gpu_is_taken_out(kind):
    """Of one wrapper, and of one a module; a user's subclass counts as the class it inherits."""
    optimizer = dict(type='SGD', lr=0.1)
    amp = dict(type=kind, optimizer=optimizer, loss_scale='dynamic', clip_grad=dict(max_norm=1))
    amp |= {} if str(kind).startswith(('Amp', 'mmengine')) else dict(patience=2)
    plain = dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=1))
    for config, expected in ((dict(amp), plain), (dict(fuser=dict(amp)), dict(fuser=plain)), (dict(plain), plain)):
        without_amp(config)
        assert config == expected
    without_amp(None)
