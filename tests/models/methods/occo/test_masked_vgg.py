"""VGG features of regions against those of whole images."""

import copy

import pytest
import torch
from torch.nn import functional as F

from mmfusion.models.methods.occo.masked_vgg import RegionFeatures
from mmfusion.models.priors import VGGPrior


def tiny(**kwargs):
    return VGGPrior(**{**dict(weights='random', width=1 / 16), **kwargs})


def test_shallow_is_the_first_layer_on_grey_in_colour():
    """Weights folded by BT.601: a grey image through them = luma-weighted sum over the first convolution's inputs."""
    vgg, x = tiny(), torch.rand(2, 1, 9, 9)
    first = vgg.features[0]
    colour = x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = F.relu(F.conv2d(colour, first.weight, first.bias, padding=1))
    torch.testing.assert_close(RegionFeatures(vgg).shallow(x), expected)


@pytest.mark.parametrize('batch', [1, 8])
def test_masked_equals_masking_first(batch):
    """Features within regions, by whatever way: those of the images with the rest black, and their gradient."""
    vgg = tiny(layers=('relu2_2', 'relu5_1')).double()
    regions = torch.zeros(5, 1, 48, 64, dtype=torch.bool)
    regions[0, :, 5:9, 7:20] = True
    regions[1, :, 30:48, 60:64] = True
    regions[2] = True
    regions[3, :, 0, 0] = True  # the last region is empty
    images = torch.rand(5, 1, 48, 64, dtype=torch.double, requires_grad=True)
    probe = None
    results = []
    for out in (RegionFeatures(vgg).masked(images, regions, batch), vgg(images * regions)):
        probe = probe or {k: torch.randn_like(v) for k, v in out.items()}
        total = sum((out[k] * probe[k]).sum() for k in probe)
        results.append((*(out[k] for k in probe), torch.autograd.grad(total, images)[0]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_copies_share_the_prior_and_follow_its_type():
    features = RegionFeatures(tiny())
    assert copy.deepcopy(features) is features
    features.prior.double()
    assert features.shallow(torch.rand(1, 1, 8, 8).double()).dtype == torch.float64
