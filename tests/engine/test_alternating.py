"""SeAFusion's rounds: λ, learning rate and what is trained, epoch by epoch, through a Runner."""

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from small_training import end_stages, shrink, shrink_datasets, write_data
from torch import nn

from mmfusion.engine.alternating import alternating_rounds

pytestmark = pytest.mark.usefixtures('one_thread')
ROOT = Path(__file__).resolve().parents[2]


class Cascade(BaseModel):
    """A fuser and a segmenter of one weight each, that remembers in what state it was called."""

    def __init__(self):
        super().__init__()
        self.fuser, self.segmentor = nn.Linear(1, 1), nn.Linear(1, 1)
        self.loss_weights = dict(fusion=1.0, task=1.0)
        self.seen = []

    def forward(self, inputs, mode='tensor'):
        self.seen.append((self.loss_weights['task'], copy.deepcopy(self.state_dict())))
        fused = self.fuser(torch.stack(inputs))
        losses = dict(loss_task=self.loss_weights['task'] * self.segmentor(fused).square().mean())
        if self.fuser.weight.requires_grad:
            losses['loss_fusion'] = (fused - 1).square().mean()
        return losses


class Rates(Hook):
    """Keeps the learning rate of each step."""

    def __init__(self):
        self.values = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.values.append(runner.optim_wrapper.get_lr()['lr'][0])


def run(loop, work_dir, epochs=None, **options):
    """The model and the learning rate of each epoch."""
    torch.manual_seed(0)
    data = [dict(inputs=torch.ones(1)) for _ in range(2)]
    runner = Runner(
        model=Cascade(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs or loop['max_epochs']),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=list(loop['hooks'].values()),
        param_scheduler=loop['param_scheduler'],
        default_hooks=dict(logger=None),
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}_{epochs}_{options.get("resume", False)}',
        **options,
    )
    rates = Rates()
    runner.register_hook(rates)
    runner.train()
    return runner.model, rates.values


SMALL = dict(rounds=3, fusion_epochs=3, task_epochs=2, gamma=0.5, decay=0.75)


def expected(rounds, fusion_epochs, task_epochs, gamma, decay):
    """(λ or 1, learning rate, what is trained) of each epoch, from the paper's description."""
    epochs = []
    for m in range(1, rounds + 1):
        epochs += [(gamma * (m - 1), 0.01 * decay**k, 'fuser') for k in range(fusion_epochs)]
        epochs += [(1.0, 0.01, 'segmentor')] * task_epochs
    return epochs


def trained(before, after):
    return {k.partition('.')[0] for k in before if not torch.equal(before[k], after[k])}


def test_rounds(tmp_path):
    model, rates = run(alternating_rounds('segmentor', **SMALL), tmp_path)
    wanted = expected(**SMALL)
    assert [weight for weight, _ in model.seen] == [weight for weight, _, _ in wanted]
    assert rates == pytest.approx([rate for _, rate, _ in wanted])
    states = [state for _, state in model.seen] + [model.state_dict()]
    assert [trained(a, b) for a, b in pairwise(states)] == [{part} for _, _, part in wanted]


def test_a_resumed_run_goes_on_in_its_round(tmp_path):
    loop = alternating_rounds('segmentor', **SMALL)
    whole, rates = run(loop, tmp_path / 'whole')
    run(loop, tmp_path / 'parts', epochs=7)  # ends within the fusion epochs of the second round
    model, last = run(loop, tmp_path / 'parts', resume=True)
    assert last == pytest.approx(rates[7:])
    assert [w for w, _ in model.seen] == [w for w, _ in whole.seen][7:]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_the_shipped_config():
    """M = 4 rounds of 10 epochs of the fuser, λ = m − 1, and about 20000 steps of the segmenter; L_aux counts a tenth."""
    cfg = Config.fromfile(ROOT / 'configs/seafusion/seafusion_msrs.py')
    weights = cfg.default_hooks.task_weight.weights['loss_weights.task']
    stages = cfg.default_hooks.stages.stages
    assert [phase.value for phase in weights] == [0, 1, 1, 1, 2, 1, 3, 1]
    assert [stage.train for stage in stages] == [['fuser'], ['segmentor']] * 4
    assert [stage.end for stage in stages] == [phase.end for phase in weights]
    assert [stage.end for stage in stages[::2]] == [10, 320, 630, 940]
    steps = 1083 // cfg.train_dataloader.batch_size * (stages[1].end - stages[0].end)
    assert abs(steps - 20000) < 200
    assert cfg.train_cfg.max_epochs == stages[-1].end
    (auxiliary,) = cfg.model.segmentor.auxiliary_head
    assert auxiliary.loss_decode.loss_weight == 0.1
    assert cfg.model.segmentor.decode_head.loss_decode.loss_weight == 1.0


def test_the_config_for_a_processor(tmp_path, monkeypatch):
    """A fuser's and a segmenter's epoch of it, on pairs of MSRS's layout; the validation gives IoU and fusion metrics."""
    (tmp_path / 'data').mkdir()
    write_data(tmp_path)
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path / 'data'))
    cfg = Config.fromfile(ROOT / 'configs/seafusion/seafusion_msrs_cpu.py')
    assert [s.end for s in cfg.default_hooks.stages.stages] == [3, 7, 10, 14, 17, 21, 24, 28]
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (28, 7)
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        shrink(loader)
        shrink_datasets(loader, part)
        loader.update(num_workers=0, persistent_workers=False)
    cfg.model.segmentor.update(init_cfg=None)
    cfg.model.segmentor.data_preprocessor.size = (42, 42)
    cfg.model.segmentor.backbone.update(norm_cfg=dict(type='BN'), num_channels=(16, 16, 16))
    cfg.model.segmentor.decode_head.update(norm_cfg=dict(type='BN'), in_channels=32, channels=32)
    cfg.train_cfg.update(max_epochs=end_stages(cfg), val_interval=2)
    cfg.update(param_scheduler=[], log_level='ERROR', work_dir=str(tmp_path / 'work'))
    runner = Runner.from_cfg(cfg)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    changed = {
        name.split('.')[0] for name, value in runner.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed == {'fuser', 'segmentor'}
    scalars = runner.message_hub.log_scalars
    assert {'val/mIoU', 'val/day/mIoU', 'val/fusion/VIF'} <= set(scalars)


@pytest.mark.parametrize('name', ['rounds', 'fusion_epochs', 'task_epochs'])
def test_no_empty_rounds(name):
    with pytest.raises(ValueError, match='must be at least 1'):
        alternating_rounds('segmentor', **dict(SMALL, **{name: 0}))


def test_a_part_may_restart_in_each_round(tmp_path):
    """The second round begins from other weights than the first one ended with; a resumed round does not begin again."""
    rounds = dict(rounds=2, fusion_epochs=2, task_epochs=1)
    plain, again = (alternating_rounds('segmentor', **rounds, restart=r) for r in ((), ('fuser',)))
    weights = {}
    for name, loop in (('plain', plain), ('again', again)):
        model, *_ = run(loop, tmp_path / name)
        weights[name] = [seen['fuser.weight'].item() for _, seen in model.seen]
    assert weights['plain'][:3] == weights['again'][:3]
    assert weights['plain'][3] == weights['plain'][2]
    assert weights['again'][3] != weights['again'][2]
    assert abs(weights['again'][4] - weights['again'][3]) < 0.1
