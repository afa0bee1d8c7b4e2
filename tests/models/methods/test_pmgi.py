import pytest
import torch

from mmfusion.models.layers import laplacian
from mmfusion.models.methods.pmgi import PMGI, PMGILoss

from .zoo import PublishedMethod


class TestPMGI(PublishedMethod):
    name = 'pmgi'
    config = 'pmgi/pmgi_tno.py'
    train = 'pmgi/pmgi_roadscene.py'
    weights = 'PMGI/CGAN.model-1'
    tensorflow = True
    tolerance = 1e-4
    narrow = {'network.channels': 4}


def test_variants_of_batch_norm():
    """The public test script looks at the image alone; the paper's batch norm at what was learned."""
    vi, ir = torch.rand(2, 1, 1, 8, 9)
    network = PMGI(4).eval()
    before = network(vi, ir)
    for norm in network.norm.values():
        norm.running_mean += 0.5
        norm.weight.data *= 2
    assert torch.equal(network(vi, ir), before)
    network.variant = 'paper'
    assert not torch.allclose(network(vi, ir), before)
    with pytest.raises(ValueError, match="variant must be 'official' or 'paper', got 'tensorflow'"):
        PMGI(variant='tensorflow')


def test_loss_by_hand():
    fused, vi, ir = torch.rand(3, 2, 1, 6, 7)
    value = sum(w * (fused - x).square().mean() for w, x in ((0.3, vi), (1.0, ir)))
    value = value + sum(w * laplacian(fused - x).square().mean() for w, x in ((5.0, vi), (4.0, ir)))
    torch.testing.assert_close(PMGILoss(loss_weight=2.0)(fused, vi, ir)[0], 2 * value)
