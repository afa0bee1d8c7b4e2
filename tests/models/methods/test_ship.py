import torch

from mmfusion.models.methods.ship import SHIPSaliencyLoss, visual_saliency

from .zoo import PublishedMethod


class TestSHIP(PublishedMethod):
    name = 'ship'
    config = 'ship/ship_tno.py'
    train = 'ship/ship_m3fd.py'
    weights = 'SHIP/SHIP_model.pth'
    narrow = {
        'network.channels': 32,
        'network.num_interactions': 1,
    }  # of few hidden units of its attention all may be off


def test_visual_saliency_is_the_mean_distance_to_all_pixels():
    image = torch.rand(2, 1, 5, 7)
    levels = (image * 255).round().flatten(1)
    distance = (levels[:, :, None] - levels[:, None]).abs().mean(2)
    low, high = distance.amin(1, keepdim=True), distance.amax(1, keepdim=True)
    torch.testing.assert_close(visual_saliency(image).flatten(1), (distance - low) / (high - low), rtol=0, atol=1e-5)
    assert visual_saliency(torch.full((1, 1, 4, 4), 0.5)).eq(0).all()  # nothing stands out


def test_saliency_loss_with_a_map_of_the_dataset():
    vi, ir, fused = torch.rand(3, 2, 1, 4, 4)
    mask = (torch.rand(2, 1, 4, 4) > 0.5).float()
    expected = 3 * ((mask * vi - fused).abs().mean() + ((1 - mask) * ir - fused).abs().mean())
    torch.testing.assert_close(SHIPSaliencyLoss(3.0)(fused, vi, ir, mask), expected)
