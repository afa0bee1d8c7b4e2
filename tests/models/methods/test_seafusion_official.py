"""SeAFusion as its public code has it."""

import pytest
import torch

from mmfusion.models.layers import GRDB
from mmfusion.registry import MODELS

from .zoo import PublishedMethod


class TestSeAFusion(PublishedMethod):
    name = 'seafusion'
    config = 'seafusion/seafusion_tno.py'
    train = 'seafusion/seafusion_fusion_msrs.py'
    weights = 'SeAFusion/SeAFusion.pth'
    narrow = {'network.channels': (4, 5, 6), 'network.decoder_channels': (6, 5, 4)}
    published = ('SeAFusion', ('15', '31'))


def test_learned_gradient_starts_as_sobels():
    torch.manual_seed(0)
    learned = GRDB(3, 5, learn_gradient=True)
    fixed = GRDB(3, 5)
    fixed.load_state_dict({k: v for k, v in learned.state_dict().items() if k != 'kernels'})
    x = torch.rand(2, 3, 9, 7)
    torch.testing.assert_close(learned(x), fixed(x))
    assert not torch.allclose(GRDB(3, 5, out_slope=0.9)(x), fixed(x))


def test_variants():
    official, paper = (MODELS.build(dict(type='mmfusion.SeAFusion', variant=v)) for v in ('official', 'paper'))
    assert not any('bn' in name for name in official.state_dict())
    assert any('bn' in name for name in paper.state_dict())
    assert not any('kernels' in name for name in paper.state_dict())
    with pytest.raises(ValueError, match="variant must be 'official' or 'paper', got 'public'"):
        MODELS.build(dict(type='mmfusion.SeAFusion', variant='public'))
