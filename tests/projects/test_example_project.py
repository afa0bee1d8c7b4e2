"""The example for third parties: a network and a loss from outside the package, trained by their config."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / 'projects/example_project'


class Recorder(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: v.item() for k, v in outputs.items()})


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    cfg = Config.fromfile(PROJECT / 'gate_net_synthetic.py')
    cfg.train_dataloader.dataset.pipeline[1].crop_size = (48, 48)
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'log_level': 'WARNING',
            'model.network.channels': 4,
            'train_cfg.max_epochs': 1,
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.num': 4,
            'train_dataloader.dataset.size': (96, 128),
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'val_dataloader.dataset.num': 1,
            'val_dataloader.dataset.size': (96, 128),
            'val_evaluator.metric': ['EN'],
        }
    )
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    return cfg


def test_trains_by_its_config(cfg, tmp_path):
    runner = Runner.from_cfg(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    before = [p.detach().clone() for p in runner.model.network.parameters()]
    runner.train()
    assert type(runner.model.network).__module__ == 'projects.example_project.gate_net'
    assert len(recorder.losses) == 2
    assert set(recorder.losses[0]) == {'loss', 'loss_contrast', 'loss_intensity', 'loss_texture'}
    assert all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in recorder.losses)
    assert all(not torch.equal(a, b) for a, b in zip(before, runner.model.network.parameters(), strict=True))
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert 'val/fusion/EN' in runner.message_hub.log_scalars


def test_contrast_loss_by_hand(cfg):
    from projects.example_project.contrast_loss import ContrastLoss

    # Rows of 0 and 1 in turn: a 3×3 window holds three or six ones of nine, so that the variance is 1/3 · 2/3.
    stripes = (torch.arange(9) % 2).float().view(1, 1, 9, 1).expand(1, 1, 9, 9)
    loss = ContrastLoss(window=3)
    inside = loss.deviation(stripes)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 2**0.5 / 3))
    assert loss(stripes, stripes, torch.zeros_like(stripes)) == 0
    assert loss(torch.zeros_like(stripes), stripes, torch.zeros_like(stripes)) > 0.4


def test_gate_lies_between_its_sources(cfg):
    from projects.example_project.gate_net import GateNet

    vi, ir = torch.rand(2, 1, 13, 17), torch.rand(2, 1, 13, 17)
    fused = GateNet(4)(vi, ir)
    assert ((fused >= torch.minimum(vi, ir)) & (fused <= torch.maximum(vi, ir))).all()


def test_three_files_and_a_readme():
    assert sorted(f.name for f in PROJECT.iterdir() if f.is_file()) == [
        'README.md',
        'contrast_loss.py',
        'gate_net.py',
        'gate_net_synthetic.py',
    ]
