"""Lite: sizes, borders, training, and the weights that come with the library."""

from pathlib import Path

import pytest
import torch
from small_training import shrink, shrink_datasets

from mmfusion.cli import train
from mmfusion.models import hub
from mmfusion.models.cost import count_parameters
from mmfusion.models.methods.lite import Lite
from mmfusion.registry import MODELS
from mmfusion.utils.configs import shipped

from .zoo import WatchGradients

# Weights of our own, which the package holds.
OWN = [
    'lite',
    'seafusion_public-pairs',
    'mgfusion_wo-prior',
    'gffusion_wo-prior',
    'occo_public-pairs',
]


@pytest.mark.parametrize('size', [(24, 24), (25, 31), (50, 33), (64, 64)])
def test_any_size(size):
    net = Lite((4, 8), depth=2)
    out = net(torch.rand(2, 1, *size), torch.rand(2, 1, *size))
    assert out['fused'].shape == out['weight'].shape == (2, 1, *size)
    assert (out['weight'] > 0).all()
    assert (out['weight'] < 1).all()


def test_too_small_is_refused():
    fuser = MODELS.build(dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.Lite', channels=(4, 8))))
    with pytest.raises(ValueError, match='Lite needs images of at least 24×24 pixels, got 23×40'):
        fuser.fuse(torch.rand(1, 3, 23, 40), torch.rand(1, 1, 23, 40))


def test_mixed_precision_is_near_float32():
    network, pair = Lite().eval(), torch.rand(2, 1, 1, 48, 64)
    with torch.no_grad():
        expected = network(*pair)['fused']
        with torch.autocast('cpu', torch.bfloat16):
            half = network(*pair)['fused']
    assert 0 < (half - expected).abs().max() < 0.02  # bfloat16 keeps 8 bits


def test_fewer_than_fifty_thousand_parameters():
    assert count_parameters(Lite()) < 50_000


def test_a_constant_pair_has_no_frame():
    """Zeros around the convolutions must not show at the border: the margin takes them in."""
    torch.manual_seed(0)
    bordered, plain = Lite(), Lite(margin=0)
    plain.load_state_dict(bordered.state_dict())
    vi, ir = torch.full((1, 1, 64, 64), 0.8), torch.full((1, 1, 64, 64), 0.3)

    def frame(net):
        fused = net(vi, ir)['fused']
        return (fused[..., 0, :] - fused[..., 32, :]).abs()[..., 28:36].max().item()  # the same phase of the folding

    assert frame(bordered) < 1e-6 < 1e-3 < frame(plain)


def test_a_step_reaches_every_parameter():
    cfg = hub.read_config(hub.find_config('lite')).model
    torch.manual_seed(0)
    fuser = MODELS.build(cfg).train()
    inputs = dict(vi=torch.rand(2, 3, 32, 32), ir=torch.rand(2, 1, 32, 32))
    losses = fuser(inputs, mode='loss')
    assert set(losses) == {'loss_intensity', 'loss_texture', 'loss_ssim', 'loss_difference', 'loss_undershoot'}
    sum(losses.values()).backward()
    dead = [name for name, p in fuser.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize('name', OWN[:-1])  # OCCO's features are not there
def test_training_by_its_own_config(name, small_data, tmp_path, monkeypatch):
    """Two steps and a validation by the pipeline, optimizer and schedule of the config that made the shipped weights."""
    monkeypatch.setenv('MMFUSION_DATA', str(small_data))
    cfg = hub.read_config(hub.find_config(name))
    for part in ('train', 'val'):
        loader = cfg[f'{part}_dataloader']
        shrink(loader)
        shrink_datasets(loader, part)
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.val_evaluator.metric = ['EN']
    cfg.default_hooks.checkpoint.interval = 2
    cfg.custom_hooks = [dict(type='mmfusion.WatchGradients')]
    cfg.merge_from_dict(dict(log_level='ERROR', randomness=dict(seed=1)))
    cfg.dump(tmp_path / 'small.py')
    assert train.main([str(tmp_path / 'small.py'), '--work-dir', str(tmp_path / 'run')]) == 0
    assert (tmp_path / 'run/iter_2.pth').is_file()
    assert WatchGradients.steps == 2
    assert WatchGradients.learning == WatchGradients.reached


@pytest.fixture(scope='module', params=OWN)
def trained(request):
    """Models whose weights come with the library: name, and fuser."""
    return request.param, hub.init_model(hub.load_model_config(request.param), device='cpu')


def test_shipped_weights_are_within_two_megabytes():
    entries = hub.published()
    assert {name for name, entry in entries.items() if shipped(entry)} == set(OWN)
    assert sum(Path(shipped(entries[name])).stat().st_size for name in OWN) < 2e6


class TestShipped:
    @pytest.fixture
    def fuser(self, trained):
        return trained[1]

    def test_it_is_small_and_loads_without_network(self, trained):
        name, fuser = trained
        file = shipped(hub.published()[name])
        assert file.endswith(f'{name}.safetensors')
        assert count_parameters(fuser.network) == hub.published()[name]['Metadata']['Parameters']

    def test_a_night_stays_dark(self, fuser):
        """Dark ground is as dark as the brighter source has it, within three grey levels: no veil."""
        torch.manual_seed(0)
        vi, ir = 0.03 + 0.01 * torch.rand(1, 1, 96, 96), 0.05 + 0.01 * torch.rand(1, 1, 96, 96)
        vi[..., :16, 70:90] = ir[..., 30:70, 40:56] = 0.95  # a lamp, a person
        with torch.no_grad():
            fused = fuser.run(vi.expand(-1, 3, -1, -1), ir)['fused'][0, 0]
        assert fused[:, :30].median() < 0.055 + 3 / 255

    def test_a_warm_person_at_night_is_bright_and_textures_stay(self, fuser):
        torch.manual_seed(0)
        x = torch.arange(96.0)
        waves = torch.sin(x[:, None] * 0.8) * torch.sin(x * 0.6)  # periods of 8 and 10 pixels
        vi = (0.2 + 0.06 * waves).expand(1, 3, -1, -1)
        ir = torch.full((1, 1, 96, 96), 0.2)
        ir[..., 30:70, 40:56] = 0.95
        fused = fuser.run(vi, ir)['fused'][0, 0]
        person, ground = fused[34:66, 44:52], fused[:, :30]
        assert person.mean() > ground.mean() + 0.4
        texture = vi[0, 0, :, :30] - vi[0, 0, :, :30].mean()
        share = ((ground - ground.mean()) * texture).sum() / texture.square().sum()
        assert share > 0.8  # of the visible texture's contrast

    # SeAFusion extends images by zeros, as published.
    @pytest.mark.parametrize('trained', ['lite'], indirect=True)
    def test_no_frame_and_no_grid_on_a_flat_pair(self, fuser):
        fused = fuser.run(torch.full((1, 3, 64, 96), 0.4), torch.full((1, 1, 64, 96), 0.6))['fused']
        with torch.no_grad():
            raw = fuser.network(torch.full((1, 1, 64, 96), 0.4), torch.full((1, 1, 64, 96), 0.6))['fused']
        assert fused.shape == (1, 1, 64, 96)
        assert raw.max() - raw.min() < 0.5 / 255
