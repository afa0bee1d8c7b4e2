import torch

from mmfusion.models.methods import res2fusion
from mmfusion.models.methods.res2fusion import Res2Fusion

from .zoo import PublishedMethod


class TestRes2Fusion(PublishedMethod):
    name = 'res2fusion'
    config = 'res2fusion/res2fusion_tno.py'
    train = 'res2fusion/res2fusion_coco.py'
    weights = 'Res2Fusion/Final_epoch_4_1e0.model'
    narrow = {'network.channels': (4, 8, 8), 'network.widths': (2, 2)}
    single_images = True


def test_energies_in_parts(monkeypatch):
    """Their range is that of all of them, image by image."""
    monkeypatch.setattr(res2fusion, '_PART', 100)
    whole, parts = Res2Fusion(), Res2Fusion(kept=0)
    x = torch.rand(2, 6, 24, 19)
    torch.testing.assert_close(whole.spatial_attention(x), parts.spatial_attention(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.spatial_attention(x)[1:], whole.spatial_attention(x[1:]))
    keys = torch.nn.functional.avg_pool2d(x, 8).flatten(2)
    energy = x.flatten(2).mT @ keys
    low, high = energy.amin((1, 2), keepdim=True), energy.amax((1, 2), keepdim=True)
    expected = x + (((energy - low) / (high - low)).softmax(-1) @ keys.mT).mT.reshape(x.shape)
    torch.testing.assert_close(whole.spatial_attention(x), expected, rtol=0, atol=1e-6)
