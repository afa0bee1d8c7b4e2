"""mmfusion train on configs and files that cannot be used: one sentence with the key, and no traceback."""

from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as stock

from mmfusion.apis import find_config
from mmfusion.cli import setup_errors, train
from mmfusion.cli.arguments import refuse_missing_weights
from mmfusion.cli.setup_errors import check_best, check_numbers, check_phases, warn_of_counts

TINY = (
    'train_dataloader.dataset.num=2',
    'train_dataloader.dataset.size=(32,48)',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_dataloader.batch_size=2',
)


@pytest.fixture
def run(narrow, tmp_path, monkeypatch, capsys):
    """Run mmfusion train; gives what it says on stderr."""
    monkeypatch.setenv('MMFUSION_VGG19', 'random')

    def start(*options, rc=1):
        args = [str(find_config('occo_synthetic')), '--work-dir', str(tmp_path / 'work'), *narrow, *TINY, *options]
        assert train.main(args) == rc
        return capsys.readouterr().err.splitlines()[-1]

    return start


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('optim_wrapper.optimizer.type=Nope', 'no class of its type is registered'),
        ('optim_wrapper.optimizer.type=Nope', "'optimizer': {'type': 'Nope', 'lr': "),
        ('optim_wrapper.optimizer.lr=x', "optim_wrapper.optimizer={'type': 'Adam', 'lr': 'x'"),
        ('optim_wrapper.type=Nope', "optim_wrapper={'type': 'Nope'} cannot be used: KeyError: Nope is not in the "),
        ('train_dataloader.collate_fn.type=Nope', "'collate_fn': {'type': 'Nope'}"),
        ('train_dataloader.collate_fn.type=Nope', 'error: train_dataloader={'),
        (
            'train_dataloader.dataset.pipeline=[]',
            'and no inputs. End the pipeline of the dataset with',
        ),
        ('train_dataloader.dataset.type=Nope', 'train_dataloader.dataset={'),
        (
            'train_dataloader.sampler.type=Nope',
            "train_dataloader.sampler={'type': 'Nope', 'shuffle': True} cannot be used",
        ),
        ('train_cfg.type=Nope', "train_cfg={'type': 'Nope', "),
        ('model.test_cfg=3', 'model'),
        ('load_from=/nowhere/a.pth', '/nowhere/a.pth: no such checkpoint'),
        ('log_level=LOUD', "log_level='LOUD' cannot be used"),
        ('randomness.seed=x', "randomness.seed is 'x'; expected a whole number"),
    ],
)
def test_one_sentence(run, option, words):
    error = run('--cfg-options', option)
    assert error.startswith('error: ')
    assert words in error


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(default_hooks=dict(logger=dict(interval=0))),
            r'default_hooks\.logger\.interval is 0; expected a whole number',
        ),
        (dict(custom_hooks=[dict(interval='a')]), r"custom_hooks\.0\.interval is 'a'"),
        (
            dict(test_dataloader={}, test_cfg=None),
            'test_cfg, test_evaluator of the config is None, and test_dataloader not',
        ),
        (dict(val_evaluator=dict(type='M', metric='EN', metrics='SF')), r'M takes val_evaluator\.metric\.'),
        (dict(train_dataloader='x'), "train_dataloader is 'x'; expected a dict"),
        (dict(train_dataloader=dict(batch_size='a')), r"train_dataloader\.batch_size is 'a'"),
        (
            dict(val_dataloader=dict(num_workers=-1)),
            r'val_dataloader\.num_workers is -1; expected a whole number of at least 0',
        ),
        (dict(train_cfg=dict(max_epochs=0)), r'train_cfg\.max_epochs is 0; expected a whole number of at least 1'),
        (dict(train_cfg=dict(val_interval=True)), r'train_cfg\.val_interval is True'),
        (dict(randomness=dict(seed=-3)), r'randomness\.seed is -3'),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else '',
)
def test_numbers(options, message):
    check = check_phases if {'test_cfg', 'val_evaluator'} & set(options) else check_numbers
    with pytest.raises(ValueError, match=message):
        check(Config(options))


def test_weights_that_cannot_be_fetched(run, monkeypatch):
    def fail(url, **_):
        raise URLError('no route')

    monkeypatch.setattr(stock, 'load_url', fail)
    error = run('--cfg-options', 'model.init_cfg.type=Pretrained', 'model.init_cfg.checkpoint=https://a.org/b/c.pth')
    assert 'https://a.org/b/c.pth: cannot be fetched' in error
    assert 'checkpoints as c.pth' in error
    assert '--cfg-options model.init_cfg=None' in error


def test_weights_that_are_not_numbers(run, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    state['state_dict']['network.final.bias'] += torch.nan
    torch.save(state, tmp_path / 'nan.pth')
    error = run('--cfg-options', f'load_from={tmp_path / "nan.pth"}')
    assert 'nan.pth: 1 of its' in error
    assert 'tensors hold NaN or infinity: network.final.bias. ' in error


@pytest.mark.parametrize('name', ['m.onnx', 'm.torchscript', 'm.xml'])
def test_an_exported_model_is_no_weights(name):
    with pytest.raises(ValueError, match=f'{name}: an exported model, which is complete, and no weights'):
        refuse_missing_weights(name)


def test_a_best_metric_that_is_not_measured_is_refused_before_training(run):
    said = run('--cfg-options', 'default_hooks.checkpoint.save_best=SCD', 'default_hooks.checkpoint.rule=greater')
    assert "save_best='SCD' is not among what the validation gives: fusion/EN, " in said


@pytest.mark.parametrize('best', [None, 'auto', 'fusion/SCD', 'fusion/LLVIP/SCD', ['fusion/EN', 'fusion/SCD']])
def test_best_metrics_that_are_measured(best):
    metric = dict(type='mmfusion.FusionMetric', metric=['EN', 'SCD'])
    cfg = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best=best)), val_evaluator=metric)
    check_best(Config(cfg))
    cfg['default_hooks']['checkpoint']['save_best'] = 'mIoU'
    check_best(Config(dict(cfg, val_evaluator=[metric, dict(type='mmseg.IoUMetric')])))
    check_best(Config(dict(cfg, val_evaluator=None)))
    with pytest.raises(ValueError, match=r"save_best='mIoU' is not among .*fusion/EN, fusion/SCD"):
        check_best(Config(cfg))


@pytest.mark.parametrize('key', ['optim_wrapper', 'train_cfg', 'train_dataloader'])
def test_one_part_of_training_that_is_missing_is_named(run, key):
    said = run('--cfg-options', f'{key}=None')
    assert f'{key} is missing; training needs train_dataloader, train_cfg and optim_wrapper' in said


def test_what_counts_epochs_in_a_training_by_iterations_is_told(monkeypatch):
    """mmengine saves nothing before the end, and never steps the schedule."""
    told = []
    monkeypatch.setattr(setup_errors, 'log_warning', told.append)
    by_iter = Config(dict(
        train_cfg=dict(by_epoch=False, max_iters=8),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=4)),
        param_scheduler=[dict(type='LinearLR', by_epoch=False), dict(type='CosineAnnealingLR', T_max=8)],
    ))  # fmt: skip
    warn_of_counts(by_iter)
    assert 'default_hooks.checkpoint, param_scheduler.1 epochs' in told.pop()
    by_iter.merge_from_dict({'default_hooks.checkpoint.by_epoch': False, 'param_scheduler.1.by_epoch': False})
    warn_of_counts(by_iter)
    warn_of_counts(Config(dict(by_iter, train_cfg=dict(by_epoch=True, max_epochs=2), param_scheduler=None)))
    warn_of_counts(Config(dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2))))
    assert not told
