import torch

from mmfusion.models.methods.mufusion import MUFusionLoss

from .zoo import PublishedMethod

VGG = dict(type='VGGPrior', arch='vgg19', weights='random', width=1 / 16)


class TestMUFusion(PublishedMethod):
    name = 'mufusion'
    config = 'mufusion/mufusion_tno.py'
    train = 'mufusion/mufusion_patches.py'
    weights = 'MUFusion/TNO.model'
    build_options = {'test_cfg.crop_size': (32, 32), 'test_cfg.stride': (28, 28)}  # several windows in small images
    narrow = {
        'network.channels': (4, 8),
        'losses.mufusion.prior.weights': 'random',
        'losses.mufusion.prior.width': 1 / 16,
    }


def test_memory():
    """The memory part is zero until a pair was seen, and then compares with the stretched result of before."""
    loss = MUFusionLoss(VGG)
    vi, ir, first, second = torch.rand(4, 2, 1, 32, 32)
    assert loss(first, vi, ir, ['a', 'b'])[1]['memory'].abs() < 1e-5
    assert loss(second, vi, ir, ['c', 'd'])[1]['memory'].abs() < 1e-5
    assert loss(second, vi, ir, ['b', 'a'])[1]['memory'] > 0.1
    remembered = torch.stack([loss.memory[name] for name in 'cd'])
    assert (remembered.amin((1, 2, 3)) == 0).all()
    assert (remembered.amax((1, 2, 3)) == 255).all()
    assert loss(remembered / 255, vi, ir, ['c', 'd'])[1]['memory'].abs() < 1e-5


def test_memory_of_images_without_a_name():
    loss = MUFusionLoss(VGG)
    vi, ir, fused = torch.rand(3, 2, 1, 32, 32)
    for _ in range(2):
        assert loss(fused, vi, ir)[1]['memory'].abs() < 1e-5
