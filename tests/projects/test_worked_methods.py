"""The kinds of method in projects/worked_methods: each trained some steps by tools/train.py, and tested."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmfusion.models.fusers import ImageFuser
from mmfusion.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / 'projects/worked_methods'
CONFIGS = sorted(f.stem for f in PROJECT.glob('*_*.py') if f.stem != '_base_' and '_base_' in f.read_text())


def log_of(folder):
    """Values of each training step in the log of a run, by name."""
    lines = next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [eval(line.replace('NaN', 'None')) for line in lines]


@pytest.fixture
def images(tmp_path):
    """Four single images in the folder that the auto-encoder's config names."""
    folder = tmp_path / 'data/images'
    folder.mkdir(parents=True)
    for k in range(4):
        cv2.imwrite(str(folder / f'{k}.png'), np.random.default_rng(k).integers(0, 256, (24, 32, 3), np.uint8))
    return folder.parent


@pytest.mark.parametrize('name', CONFIGS)
def test_trains_and_is_tested(name, load_tool, tmp_path, monkeypatch, images):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv('MMFUSION_DATA', str(images))
    work, options = tmp_path / 'run', ['default_hooks.logger.interval=1', 'log_level=WARNING']
    amp = ['--amp'] if name.startswith('adversarial') else []
    config = str(PROJECT / f'{name}.py')
    load_tool('tools/train.py').main([config, '--work-dir', str(work), *amp, '--cfg-options', *options])
    steps = log_of(work)
    seen = {key for step in steps for key in step}
    weights = torch.load(work / 'epoch_2.pth', weights_only=True)['state_dict']
    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    start = MODELS.build(cfg.model).state_dict()
    assert weights.keys() == start.keys()
    expected = dict(
        decomposition_synthetic={'loss_reconstruction', 'loss_decomposition', 'loss_intensity', 'loss_texture'},
        auto_encoder_images={'loss_ssim'},
        adversarial_synthetic={
            'loss_intensity',
            'loss_detail_fool',
            'loss_target_fool',
            'detail/discriminator_loss',
            'target/discriminator_loss',
        },
        task_head_synthetic={'loss_intensity', 'loss_seg', 'mIoU', 'fusion/EN'},
        text_guided_synthetic={'loss_intensity', 'fusion/SSIM'},
        registration_synthetic={'loss_ssim', 'fusion/SSIM'},
    )[name]
    assert expected <= seen
    load_tool('tools/test.py').main([config, str(work / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test')])


def test_phases_have_their_own_losses(load_tool, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    args = ['--work-dir', str(tmp_path), '--cfg-options', 'default_hooks.logger.interval=1', 'log_level=WARNING']
    load_tool('tools/train.py').main([str(PROJECT / 'decomposition_synthetic.py'), *args])
    first, second = ([s for s in log_of(tmp_path) if s.get('epoch') == e and 'loss' in s] for e in (1, 2))
    assert all('loss_reconstruction' in s and 'loss_intensity' not in s for s in first)
    assert all('loss_reconstruction' not in s and 'loss_texture' in s for s in second)
    assert len(first) == len(second) == 4


@pytest.mark.parametrize(
    'name', ['decomposition', 'auto_encoder', 'adversarial', 'task_head', 'text_guided', 'registration']
)
def test_cost_of_a_method(name):
    """One file below 60 lines, and one config below 15 that inherits the rest."""
    (config,) = PROJECT.glob(f'{name}_[si]*.py')
    statements = [line for line in config.read_text().splitlines() if line.strip() and not line.startswith('#')]
    assert len(statements) <= 15, config  # with _base_ and custom_imports
    assert len((PROJECT / f'{name}.py').read_text().splitlines()) < 60
    page = (ROOT / 'docs/add_a_method.md').read_text()
    assert re.search(rf'worked_methods/{name}\.py', page)


def test_metrics_see_the_registered_infrared_image(monkeypatch):
    """A pair shifted by two pixels: with the true shift the fused image correlates with the warped infrared one."""
    monkeypatch.syspath_prepend(str(ROOT))
    from mmfusion.evaluation import FusionMetric
    from projects.worked_methods.registration import RegistrationNet

    cfg = Config.fromfile(PROJECT / 'registration_synthetic.py')
    model = MODELS.build(cfg.model).eval()
    assert isinstance(model.network, RegistrationNet)
    noise = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 40, 44), 5, 1)
    vi, ir = noise[..., 2:].repeat(1, 3, 1, 1), noise[..., :-2]
    pair = (255 * torch.cat([vi.flip(1), ir], dim=1)).round().byte()
    values = {}
    for shift in (0.0, 2.0):
        model.network.shift.data = torch.tensor([shift, 0.0])
        samples = model.test_step(dict(inputs=list(pair), data_samples=None))
        for sample in samples:
            sample.set_metainfo(dict(img_path='a.png'))
        metric = FusionMetric(metric=['CC'])
        metric.process(dict(inputs=list(pair)), [s.to_dict() for s in samples])
        values[shift] = metric.evaluate(1)['fusion/CC']
    assert values[2.0] > 0.99 > values[0.0]


@MODELS.register_module()
class BrightenedFuser(ImageFuser):
    """Fuses in its own way: B1's case."""

    def run(self, vi, ir=None, samples=None):
        batch = super().run(vi, ir, samples)
        return self.complete(batch, dict(fused=batch['fused'] * 0.5 + 0.25))


def test_what_is_trained_is_what_is_tested():
    """The image that losses see in a fuser and in a cascade is the image of a test, difference 0."""
    seen = []

    @MODELS.register_module(name='SpyLoss', force=True)
    class SpyLoss(torch.nn.Module):
        def forward(self, fused, fused_rgb):
            seen.append(fused_rgb.detach())
            return fused.mean()

    fuser = BrightenedFuser(dict(type='AverageNetwork'), losses=dict(spy=dict(type='SpyLoss'))).train()
    inputs = dict(vi=torch.rand(2, 3, 16, 16), ir=torch.rand(2, 1, 16, 16))
    fuser(inputs, mode='loss')
    tested = torch.stack([s.fused.data for s in fuser.eval()(inputs, mode='predict')])
    assert torch.equal(seen[0], tested)
    assert torch.equal(tested, fuser(inputs))
