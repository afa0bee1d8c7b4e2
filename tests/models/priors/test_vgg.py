"""VGG features against torchvision's own network."""

import copy

import pytest
import torch
import torchvision

from mmfusion.models.priors import PriorHolder, VGGPrior
from mmfusion.models.priors.vgg import layer_names
from mmfusion.registry import MODELS

ALL_STAGES = ('relu1_1', 'relu1_2', 'relu2_1', 'relu3_1', 'relu4_1', 'relu5_1')


def tiny(**kwargs):
    return VGGPrior(**{**dict(weights='random', width=1 / 16), **kwargs})


def test_layer_names_are_those_of_the_paper():
    """relu4_4 and relu5_4 of VGG19 are features 26 and 35; VGG16 has three convolutions in its deep stages."""
    vgg19, vgg16 = (layer_names(torchvision.models.vgg.cfgs[k]) for k in 'ED')
    assert {vgg19[i] for i in (1, 3, 6, 11, 20, 26, 35)} == {
        'relu1_1', 'relu1_2', 'relu2_1', 'relu3_1', 'relu4_1', 'relu4_4', 'relu5_4'
    }  # fmt: skip
    assert (vgg19[26], vgg19[35], len(vgg19), len(vgg16)) == ('relu4_4', 'relu5_4', 16, 13)
    assert vgg16[29] == 'relu5_3'
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['E'])
    assert all(isinstance(features[i], torch.nn.ReLU) for i in vgg19)


@pytest.mark.parametrize('channels', [1, 3])
def test_features_against_plain_layers(channels):
    """ImageNet normalisation, then torchvision's layers one by one; one channel is repeated."""
    vgg, x = tiny(layers=('relu1_2', 'relu3_2')).double(), torch.rand(2, channels, 16, 20, dtype=torch.double)
    out = vgg(x)
    assert set(out) == {'relu1_2', 'relu3_2'}
    y = (x.expand(-1, 3, -1, -1) - torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).double().view(3, 1, 1)
    names = {3: 'relu1_2', 13: 'relu3_2'}
    for i, layer in enumerate(vgg.features[:14]):
        y = layer(y.clone())
        if i in names:
            torch.testing.assert_close(out[names[i]], y, rtol=1e-6, atol=1e-7)  # the constants are float32


def test_images_of_255_without_normalisation():
    """As public code of the Caffe days feeds them."""
    vgg, x = tiny(layers=('relu1_1',), mean=(0, 0, 0), std=(1 / 255,) * 3), torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(vgg(x)['relu1_1'], vgg.features[:2](x * 255), rtol=1e-5, atol=1e-4)


def test_shapes_batch_and_single():
    vgg = tiny()
    x = torch.rand(3, 1, 32, 48)
    out = vgg(x, ALL_STAGES)
    assert [tuple(out[n].shape[1:]) for n in ALL_STAGES] == [
        (4, 32, 48), (4, 32, 48), (8, 16, 24), (16, 8, 12), (32, 4, 6), (32, 2, 3)
    ]  # fmt: skip
    for name in ALL_STAGES:
        torch.testing.assert_close(out[name][1:2], vgg(x[1:2], (name,))[name])


def test_deeper_layers_are_not_computed():
    vgg, seen = tiny(), []
    for i, layer in enumerate(vgg.features):
        layer.register_forward_hook(lambda *_, i=i: seen.append(i))
    vgg(torch.rand(1, 1, 16, 16), ('relu2_1',))
    assert max(seen) == 6


def test_frozen_but_transparent():
    vgg = tiny().train()
    assert not vgg.training
    assert not any(m.training for m in vgg.modules())
    x = torch.rand(1, 1, 16, 16, requires_grad=True)
    sum(v.sum() for v in vgg(x).values()).backward()
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in vgg.parameters())


def test_gradcheck():
    vgg = tiny(layers=('relu2_2',)).double()
    x = torch.rand(1, 1, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: vgg(x)['relu2_2'], x, fast_mode=True)


def test_random_weights_repeat_and_leave_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a = tiny()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    b = tiny()
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize('whole', [True, False], ids=['network', 'features'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_weights_from_a_file(tmp_path, whole, dtype):
    """Torchvision's key names, of the network or of its features, in any float type."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['D'])
    prefix = 'features.' if whole else ''
    state = {prefix + k: v.to(dtype) for k, v in features.state_dict().items()}
    if whole:
        state['classifier.0.weight'] = torch.zeros(2, 2)
    torch.save(state, tmp_path / 'vgg16.pt')
    vgg = MODELS.build(dict(type='VGGPrior', arch='vgg16', weights=str(tmp_path / 'vgg16.pt'), layers=('relu5_3',)))
    for name, value in vgg.features.state_dict().items():
        assert torch.equal(value, features.state_dict()[name].to(dtype).float())


def test_errors(tmp_path):
    with pytest.raises(ValueError, match='arch must be one of vgg16, vgg19, got'):
        VGGPrior(arch='vgg11')
    with pytest.raises(ValueError, match="weights='caffe' are those of vgg16, got arch='vgg19'"):
        VGGPrior(weights='caffe')
    with pytest.raises(ValueError, match=r"width=0.5 needs weights='random'"):
        VGGPrior(width=0.5)
    with pytest.raises(ValueError, match=r'vgg16 has no layer relu4_4, relu5_4; it has relu1_1, .*relu5_3'):
        tiny(arch='vgg16')
    with pytest.raises(
        FileNotFoundError,
        match=r"vgg19 features: 'nowhere.pth' is no file. Expected .*'imagenet' \(https.*vgg19.* or 'random'",
    ):
        VGGPrior(weights='nowhere.pth')
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'other.pt')
    with pytest.raises(RuntimeError, match=r'other.pt: not the weights of vgg16 features in torchvision key names'):
        VGGPrior('vgg16', weights=str(tmp_path / 'other.pt'), layers=('relu1_1',))


def test_caffe_weights_are_those_of_vggs_authors(monkeypatch, tmp_path):
    """Torchvision has them as features alone; its classifier is not a number."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['D'])
    state = {f'features.{k}': v for k, v in features.state_dict().items()}
    state['classifier.0.weight'] = torch.full((1, 1), float('nan'))
    torch.save(state, tmp_path / 'caffe.pth')

    def fetch(url, sha256):
        assert 'vgg16_features' in url
        assert url.endswith(f'-{sha256}.pth')
        return tmp_path / 'caffe.pth'

    monkeypatch.setattr('mmfusion.models.priors.weights.fetch', fetch)
    prior = VGGPrior('vgg16', weights='caffe', layers=('relu5_3',))
    assert torch.equal(prior.features[0].weight, features[0].weight)


def test_holder_shares_and_moves_its_prior():
    holder = PriorHolder()
    vgg = tiny()
    holder.hold('vgg', vgg)
    assert holder.prior('vgg') is vgg
    assert list(holder.parameters()) == []
    assert holder.state_dict() == {}
    assert copy.deepcopy(holder).prior('vgg') is vgg
    holder.to(torch.float64)
    assert vgg.mean.dtype == vgg.features[0].weight.dtype == torch.float64
