"""Schedules of some parameter groups only."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mmfusion.registry import PARAM_SCHEDULERS

pytestmark = pytest.mark.usefixtures('one_thread')


def optimizer(lr=1.0):
    """Three groups, of which two have names."""
    parts = [dict(params=[nn.Parameter(torch.zeros(1))], **name) for name in ({}, dict(group='b'), dict(group='c'))]
    return torch.optim.SGD(parts, lr=lr)


def rates(config, steps, opt=None):
    """Learning rates of each group at each step."""
    opt = opt or optimizer()
    wrapper = OptimWrapper(opt)
    schedule = PARAM_SCHEDULERS.build(dict(config, optimizer=wrapper))
    out = []
    for _ in range(steps):
        out.append([group['lr'] for group in opt.param_groups])
        wrapper.step()
        schedule.step()
    return list(zip(*out, strict=True))


OPTIONS = {
    'StepLR': dict(step_size=2, gamma=0.1, begin=3),
    'MultiStepLR': dict(milestones=[2, 5], gamma=0.5),
    'ConstantLR': dict(factor=0.2, begin=0, end=4),
    'LinearLR': dict(start_factor=0.1, begin=0, end=5),
    'CosineAnnealingLR': dict(T_max=6, eta_min=0.1, begin=1),
    'PolyLR': dict(power=2.0, eta_min=0.0, begin=0, end=6),
}


@pytest.mark.parametrize('name', OPTIONS)
def test_named_groups_follow_mmengines_schedule_and_others_stay(name):
    stock = rates(dict(type=name, **OPTIONS[name]), 9)[0]
    ours = rates(dict(type=f'mmfusion.Group{name}', groups='c', **OPTIONS[name]), 9)
    assert ours == [(1.0,) * 9, (1.0,) * 9, stock]
    assert len(set(stock)) > 1


def test_several_groups_and_steps_counted_from_begin():
    both = rates(dict(type='mmfusion.GroupStepLR', groups=['b', 'c'], step_size=2, gamma=0.1, begin=3), 8)
    assert both[1] == both[2] == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.1, 0.01])


def test_two_schedules_of_two_groups_do_not_meet():
    opt = optimizer()
    wrapper = OptimWrapper(opt)
    schedules = [
        PARAM_SCHEDULERS.build(dict(type='mmfusion.GroupStepLR', groups=g, step_size=1, gamma=f, optimizer=wrapper))
        for g, f in (('b', 0.5), ('c', 0.1))
    ]
    wrapper.step()
    for schedule in schedules:
        schedule.step()
    assert [group['lr'] for group in opt.param_groups] == pytest.approx([1.0, 0.5, 0.1])


def test_unknown_group():
    with pytest.raises(ValueError, match=r"GroupStepLR: groups=\('head',\), but .* are called b, c\. .*group='head'"):
        rates(dict(type='mmfusion.GroupStepLR', groups='head', step_size=1), 1)
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match='are called nothing'):
        rates(dict(type='mmfusion.GroupStepLR', groups='head', step_size=1), 1, plain)


class Two(BaseModel):
    """Two layers; remembers the learning rates of each step's groups."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)
        self.seen = []

    def train_step(self, data, optim_wrapper):
        self.seen.append({g.get('group'): g['lr'] for g in optim_wrapper.param_groups})
        return super().train_step(data, optim_wrapper)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.head(self.body(torch.stack(inputs))).square().mean())


def train(work_dir, epochs, convert=False, resume=False):
    model = Two()
    Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=[dict(inputs=torch.randn(2)) for _ in range(4)],
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='Adam', lr=1e-3),
            paramwise_cfg=dict(custom_keys={'head.': dict(lr_mult=0.1, group='head')}),
        ),
        param_scheduler=[
            dict(
                type='mmfusion.GroupStepLR',
                groups='head',
                step_size=2,
                gamma=0.1,
                begin=1,
                end=6,  # it is in the checkpoint, as in mmengine, and the default is this run's last epoch
                convert_to_iter_based=convert,
            )
        ],
        default_hooks=dict(logger=None),
        default_scope='mmfusion',
        resume=resume,
        experiment_name=f'{work_dir.name}_{epochs}_{convert}_{resume}',
    ).train()
    return model.seen


@pytest.mark.parametrize('convert', [False, True])
def test_in_a_runner_and_resumed(tmp_path, convert):
    """The head's 1e-4 falls two epochs after epoch 1, and again after two; a resumed run goes on there."""
    whole = train(tmp_path / 'whole', 6, convert)
    assert [s[None] for s in whole] == [1e-3] * 12
    head = [1e-4] * 6 + [1e-5] * 4 + [1e-6] * 2
    assert [s['head'] for s in whole] == pytest.approx(head)
    train(tmp_path / 'cut', 4, convert)
    assert [s['head'] for s in train(tmp_path / 'cut', 6, convert, resume=True)] == pytest.approx(head[8:])
