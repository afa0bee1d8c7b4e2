import torch

from mmfusion.models.methods.swinfusion import SwinFusion

from .zoo import PublishedMethod


class TestSwinFusion(PublishedMethod):
    name = 'swinfusion'
    config = 'swinfusion/swinfusion_msrs.py'
    train = 'swinfusion/swinfusion_msrs.py'
    narrow = {
        'network.channels': 12,
        'network.depth': 2,
        'network.fusion_depths': (2,),
        'network.num_heads': 2,
        'network.drop_path': 0.0,
    }


def test_batch_equals_single_images():
    """Shifted windows have masks for each window of each image."""
    network = SwinFusion(12, depth=2, fusion_depths=(2,), num_heads=2).eval()
    vi, ir = torch.rand(2, 3, 1, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(network(vi, ir)[1:2], network(vi[1:2], ir[1:2]))
