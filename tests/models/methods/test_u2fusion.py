import torch
import torch.nn.functional as F

from mmfusion.models.methods.u2fusion import U2FusionLoss

from .zoo import PublishedMethod


class TestU2Fusion(PublishedMethod):
    name = 'u2fusion'
    config = 'u2fusion/u2fusion_tno.py'
    train = 'u2fusion/u2fusion_roadscene.py'
    weights = 'U2Fusion/model.ckpt'
    tensorflow = True
    tolerance = 1e-4
    narrow = {
        'network.channels': 4,
        'network.decoder_channels': (6, 5, 4),
        'losses.similarity.prior.weights': 'random',
        'losses.similarity.prior.width': 1 / 32,
        'losses.similarity.size': 32,
    }
    published = ('U2Fusion', ('05', '08'))


def test_information_by_explicit_convolution():
    """The kernel of the public code, and the mean over layers of each map's mean square."""
    loss = U2FusionLoss(dict(type='VGGPrior', arch='vgg16', weights='random', width=1 / 32), size=32)
    x = torch.rand(2, 1, 16, 16)
    kernel = torch.full((1, 1, 3, 3), 1 / 8)
    kernel[..., 1, 1] = -1
    features = loss.prior('vgg')(x.repeat_interleave(2, 2).repeat_interleave(2, 3)).values()
    maps = [F.conv2d(f.flatten(0, 1)[:, None], kernel, padding=1).view_as(f) for f in features]
    torch.testing.assert_close(loss.information(x), sum(m.square().mean((1, 2, 3)) for m in maps) / 5)
    assert len(maps) == 5


def test_sharper_source_weighs_more():
    loss = U2FusionLoss(dict(type='VGGPrior', arch='vgg16', weights='random', width=1 / 32), temperature=1e-3, size=32)
    sharp, flat = torch.rand(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    value, log = loss(sharp, sharp, flat)
    assert log['weight_vi'] > 0.5
    assert value < loss(flat, sharp, flat)[0]
