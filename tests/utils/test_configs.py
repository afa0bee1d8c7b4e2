"""Overrides of configs, as --cfg-options gives them."""

import inspect

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.utils.configs import RUN_KEYS, override


def make():
    return Config(
        dict(
            model=dict(type='Net'),
            data_root='a',
            epochs=3,
            mine=1,
            train_cfg=dict(max_epochs=3),
            steps=[dict(type='Load')],
            train_dataloader=dict(dataset=dict(data_root='a', pipeline=[dict(type='Load')])),
        )
    )


def test_run_keys_are_those_of_the_runner():
    assert set(inspect.signature(Runner.__init__).parameters) - {'self'} <= RUN_KEYS


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('data_root', r'data_root is a variable .* Set them: train_dataloader\.dataset\.data_root=…'),
        ('steps.0.type', r'Set them: train_dataloader\.dataset\.pipeline\.0\.type=…'),
        ('train_cgf.max_epochs', r'has no train_cgf, and no run reads one\. Did you mean train_cfg\.max_epochs\?'),
        ('nonsense', 'has no nonsense, and no run reads one'),
    ],
)
def test_overrides_that_would_change_nothing(name, message):
    cfg = make()
    with pytest.raises(ValueError, match=f'--cfg-options {name}: .*{message}'):
        override(cfg, {name: 1})


def test_overrides_that_a_run_reads():
    cfg = make()
    override(cfg, {'train_cfg.max_epochs': 1, 'load_from': 'x.pth', 'randomness.seed': 2, 'mine': 5})
    assert (cfg.train_cfg.max_epochs, cfg.load_from, cfg.randomness.seed, cfg.mine) == (1, 'x.pth', 2, 5)
