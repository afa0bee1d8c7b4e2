import pytest
import torch

from mmfusion.models.methods.ship import SHIPSaliencyLoss

from .zoo import PublishedMethod, build


class TestSHIP(PublishedMethod):
    name = 'ship'
    config = 'ship/ship_tno.py'
    train = 'ship/ship_m3fd.py'
    weights = 'SHIP/SHIP_model.pth'
    narrow = {
        'network.channels': 32,
        'network.num_interactions': 1,
    }  # of few hidden units of its attention all may be off

    def test_least_size(self):
        fuser, _ = build(self.config, **{'network.channels': 4, 'network.num_interactions': 1})
        with torch.no_grad():
            assert fuser.eval().fuse(torch.rand(1, 3, 2, 2), torch.rand(1, 1, 2, 2)).shape == (1, 3, 2, 2)
            with pytest.raises(ValueError, match='SHIP needs images of at least 2×2 pixels, got 1×1'):
                fuser.fuse(torch.rand(1, 3, 1, 1), torch.rand(1, 1, 1, 1))


def test_saliency_loss_with_a_map_of_the_dataset():
    vi, ir, fused = torch.rand(3, 2, 1, 4, 4)
    mask = (torch.rand(2, 1, 4, 4) > 0.5).float()
    expected = 3 * ((mask * vi - fused).abs().mean() + ((1 - mask) * ir - fused).abs().mean())
    torch.testing.assert_close(SHIPSaliencyLoss(3.0)(fused, vi, ir, mask), expected)
