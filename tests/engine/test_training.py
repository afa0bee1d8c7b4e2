"""Training by the Runner from a shipped config: end to end, resumed, with AMP, EMA and TensorBoard."""

from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

CONFIG = Path(__file__).resolve().parents[2] / 'configs/occo/occo_synthetic.py'
NAMES = count()  # mmengine names runs by the second, and those of one name share a visualizer


class Recorder(Hook):
    """Keeps the loss of each step by (epoch, step), and may end the run there as a crash would."""

    def __init__(self, crash_at=None):
        self.losses, self.crash_at = {}, crash_at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.epoch, batch_idx] = outputs['loss'].item()
        if (runner.epoch, batch_idx) == self.crash_at:
            raise KeyboardInterrupt


def config(tmp_path, monkeypatch, epochs=2, **options):
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    cfg = Config.fromfile(CONFIG)
    for pipeline in (cfg.train_dataloader.dataset.pipeline,):
        next(t for t in pipeline if t.type == 'mmfusion.ForegroundCrop').crop_size = (64, 64)
    cfg.model.losses.contrastive.prior.width = 1 / 16
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'model.network.channels': (4, 4, 8, 8),
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_interval': epochs,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 1,
            'train_dataloader.dataset.num': 8,
            'train_dataloader.dataset.size': (120, 160),
            'val_dataloader.dataset.num': 2,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'val_dataloader.dataset.size': (120, 160),
            'log_level': 'WARNING',
            **options,
        }
    )
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    return cfg


def run(cfg, crash_at=None):
    cfg.experiment_name = f'training_{next(NAMES)}'
    runner = Runner.from_cfg(cfg)
    recorder = Recorder(crash_at)
    runner.register_hook(recorder)
    if crash_at:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return runner, recorder.losses


def test_trains_validates_and_draws(tmp_path, monkeypatch):
    runner, losses = run(config(tmp_path, monkeypatch))
    assert len(losses) == 4
    assert all(torch.isfinite(torch.tensor(v)) for v in losses.values())
    assert (tmp_path / 'epoch_2.pth').is_file()
    assert len(list(tmp_path.glob('*/panels/epoch_2/*.png'))) == 2
    assert 'val/fusion/EN' in runner.message_hub.log_scalars
    state = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['state_dict']
    assert not any('vgg' in k or 'features' in k for k in state)


def test_resumed_run_repeats_the_uninterrupted_one(tmp_path, monkeypatch):
    _, whole = run(config(tmp_path / 'whole', monkeypatch, epochs=3))
    _, first = run(config(tmp_path / 'cut', monkeypatch, epochs=3), crash_at=(2, 0))
    cfg = config(tmp_path / 'cut', monkeypatch, epochs=3)
    cfg.resume = True
    # another number of workers must not matter either
    cfg.train_dataloader.num_workers = 0
    cfg.train_dataloader.persistent_workers = False
    _, second = run(cfg)
    assert sorted(second) == [(2, 0), (2, 1)]
    assert {**first, **second} == whole


@pytest.mark.cuda
def test_amp_by_config(tmp_path, monkeypatch):
    cfg = config(tmp_path, monkeypatch, epochs=1)
    cfg.optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='Adam', lr=1e-4))
    _, losses = run(cfg)
    assert all(torch.isfinite(torch.tensor(v)) for v in losses.values())


def test_ema_and_tensorboard_by_config(tmp_path, monkeypatch):
    cfg = config(tmp_path, monkeypatch, epochs=1, **{'optim_wrapper.optimizer.lr': 1e-3})
    cfg.custom_hooks = [dict(type='EMAHook')]
    cfg.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
    _, losses = run(cfg)
    assert all(torch.isfinite(torch.tensor(v)) for v in losses.values())
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert any(
        not torch.equal(v, checkpoint['ema_state_dict'][f'module.{k}']) for k, v in checkpoint['state_dict'].items()
    )
    assert list(tmp_path.glob('*/vis_data/events.out.tfevents*'))


def test_batch_that_does_not_split_is_named(tmp_path, monkeypatch):
    cfg = config(tmp_path, monkeypatch, epochs=1, **{'train_dataloader.batch_size': 2})
    with pytest.raises(ValueError, match=r'4 groups, and this one has 2 pairs.*4, 8, 12'):
        Runner.from_cfg(cfg).train()


def test_nan_stops_with_file_names(tmp_path, monkeypatch):
    cfg = config(tmp_path, monkeypatch, epochs=1)
    runner = Runner.from_cfg(cfg)
    with torch.no_grad():
        runner.model.network.final.weight.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match=r'loss_ssim = nan.*The batch was: .*0000'):
        runner.train()
