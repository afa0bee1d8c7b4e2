"""Overrides of configs, as --cfg-options gives them."""

import inspect
import sys

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.cli import train
from mmfusion.cli.running import load_config
from mmfusion.utils.configs import RUN_KEYS, drop_variables, find_config, override, read_config


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
        ('launcher', 'would change nothing. Say --launcher'),
        ('custom_imports', 'Failed to import nowhere'),
    ],
)
def test_overrides_that_would_change_nothing(name, message):
    cfg = make()
    with pytest.raises(ValueError, match=f'--cfg-options {name}: .*{message}'):
        override(cfg, {name: dict(imports=['nowhere'])})


def test_overrides_that_a_run_reads():
    cfg = make()
    override(cfg, {'train_cfg.max_epochs': 1, 'load_from': 'x.pth', 'randomness.seed': 2, 'mine': 5})
    assert (cfg.train_cfg.max_epochs, cfg.load_from, cfg.randomness.seed, cfg.mine) == (1, 'x.pth', 2, 5)


def test_imports_of_overrides(tmp_path, monkeypatch):
    """They came too late, and were left aside."""
    (tmp_path / 'only_of_an_override.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    override(make(), {'custom_imports.imports': ['only_of_an_override']})
    assert 'only_of_an_override' in sys.modules


def test_variables_of_files_are_not_in_what_a_run_dumps(tmp_path, monkeypatch):
    """They looked as if they could be changed in a dumped config, and changed nothing."""
    monkeypatch.chdir(tmp_path)
    args = train.make_parser().parse_args(['occo_synthetic', '--work-dir', str(tmp_path / 'work')])
    assert {'fuser', 'train_pipeline'} <= set(read_config(find_config('occo_synthetic')))
    assert set(load_config(args)) <= RUN_KEYS
    root = ['a']
    cfg = Config(dict(custom_imports=dict(imports='own'), root=root, model=dict(x=root), mine=3))
    drop_variables(cfg)
    assert set(cfg) == {'custom_imports', 'model', 'mine'}  # a hook of theirs may read it


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'\xef\xbb\xbfa = 1', r'a\.py: .* SyntaxError: .* Save it as UTF-8, without a byte order mark\.'),
        (b'# caf\xe9', r'a\.py: .* UnicodeDecodeError: .* Save it as UTF-8'),
        (b"_base_ = ['mmfoo::x.py']", r'a\.py: .* Its bases are mmfoo::x\.py; expected LIBRARY::FOLDER/FILE\.py'),
        (b'a = (', r'a\.py: .* never closed .* Correct it'),
    ],
)
def test_files_that_cannot_be_read_say_what_to_do(tmp_path, data, message):
    (tmp_path / 'a.py').write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / 'a.py')
