import pytest
import torch
from mmengine.structures import PixelData
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from mmfusion.models.hub import load_model_config
from mmfusion.models.methods.coconet import CoCoNetContrast, CoCoNetLoss, GreyVGG, Norm
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod

VGG = dict(type='mmfusion.VGGPrior', arch='vgg19', weights='random', width=1 / 32)


class TestCoCoNet(PublishedMethod):
    name = 'coconet'
    config = 'coconet/coconet_tno.py'
    train = 'coconet/coconet_roadscene_contrast.py'
    build_options = {'network.channels': 4}
    narrow = {'network.channels': 4, 'losses.contrast.prior': VGG}

    def samples(self):
        masks = torch.rand(2, 1, self.size, self.size) > 0.5
        return [FusionDataSample(gt_saliency=PixelData(vi=mask, ir=mask)) for mask in masks]


class TestMainStage(PublishedMethod):
    name = 'coconet'
    config = 'coconet/coconet_tno.py'
    train = 'coconet/coconet_roadscene.py'
    narrow = {'network.channels': 4, 'network.pretrained': None}
    test_public_code_by_stand_in_weights = None  # as above


def test_norm_by_each_image_or_as_learned():
    x, norm = torch.rand(2, 3, 8, 8), Norm(3)
    by_image = torch.cat([norm(x[:1]), norm(x[1:])])  # in training, a batch of one
    norm.eval()
    norm.official = True
    torch.testing.assert_close(norm(x), by_image)
    norm.official = False
    torch.testing.assert_close(norm(x), nn.BatchNorm2d.forward(norm, x))
    assert not torch.allclose(norm(x), by_image)


def test_vgg_sees_grey(tmp_path):
    ours, theirs = GreyVGG(32), make_layers(cfgs['E'][:10])
    torch.save({f'features.{name}': value for name, value in theirs.state_dict().items()}, tmp_path / 'vgg19.pth')
    ours.load_imagenet(str(tmp_path / 'vgg19.pth'))
    grey = torch.rand(1, 1, 16, 16)
    colour = grey * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close(ours[0][0](grey), theirs[0](colour))
    assert [tuple(f.shape[1:]) for f in ours(grey)] == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]


def test_loss_follows_what_sources_hold():
    """A flat image weighs softmax(0), the other one softmax(1 / c)."""
    detailed, flat = torch.rand(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.5)
    loss = CoCoNetLoss()
    assert loss(detailed, detailed, detailed)[0] < 1e-5
    share = torch.tensor([1 / 0.75, 0.0]).softmax(0)
    expected = 4 * share[1] * (detailed - flat).square().mean()
    torch.testing.assert_close(loss(detailed, detailed, flat)[1]['mse'], expected)
    torch.testing.assert_close(loss(detailed, flat, detailed)[1]['mse'], expected)


def test_contrast_is_zero_for_objects_of_infrared_and_background_of_visible():
    vi, ir = torch.rand(2, 3, 1, 32, 32)
    mask = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
    mask[..., :16] = True
    loss = CoCoNetContrast(VGG)
    assert loss(torch.where(mask, ir, vi), vi, ir, mask)[0] == 0
    log = loss(ir, vi, ir, mask)[1]
    assert log['objects'] == 0 < log['background']
    assert loss(ir, vi, ir, torch.zeros_like(mask))[0].isfinite()


@pytest.mark.parametrize('name', ['coconet_roadscene', 'psfusion_msrs_train'])
def test_fusing_needs_no_imagenet_weights(name, monkeypatch):
    monkeypatch.setenv('MMFUSION_VGG19', 'absent.pth')
    monkeypatch.setenv('MMFUSION_RESNET34', 'absent.pth')
    assert load_model_config(name).model.network.pretrained is None
