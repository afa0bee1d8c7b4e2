import pytest
import torch

from mmfusion.models.methods.rcafusion import EntropyWeightedSSIMLoss

from .zoo import PublishedMethod


class TestRCAFusion(PublishedMethod):
    name = 'rcafusion'
    config = 'rcafusion/rcafusion_msrs.py'
    train = 'rcafusion/rcafusion_msrs.py'
    weights = 'RCAFusion/RCAFusion_pre.pth'
    narrow = {'network.channels': (8, 32, 48)}


def test_entropies():
    """Of 256 levels, or of white against the rest, as the public code's bins have it."""
    image = torch.arange(256).view(1, 1, 16, 16) / 255
    assert EntropyWeightedSSIMLoss('paper').entropy(image).item() == pytest.approx(8, abs=1e-3)
    white = 1 / 256
    expected = -sum(share * torch.tensor(share + 1e-7).log2().item() for share in (white, 1 - white))
    assert EntropyWeightedSSIMLoss().entropy(image).item() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="variant must be 'official' or 'paper', got 'public'"):
        EntropyWeightedSSIMLoss('public')
