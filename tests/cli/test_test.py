"""mmfusion test and mmfusion train refuse a checkpoint that mmengine would only warn about."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.apis import find_config
from mmfusion.cli import errors, running, test, train
from mmfusion.models.methods.occo.official import to_official
from mmfusion.registry import MODELS

SMALL = (
    'test_dataloader.dataset.num=1',
    'test_dataloader.dataset.size=(32,48)',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    "test_evaluator.metric=['EN']",
)


@pytest.fixture
def arguments(narrow, tmp_path):
    """Arguments of mmfusion test for a checkpoint."""
    work_dir = ['--work-dir', str(tmp_path / 'work')]
    return lambda file: [
        str(find_config('occo_synthetic')),
        str(file),
        *work_dir,
        *narrow,
        *SMALL,
        f'experiment_name={Path(file).stem}',
    ]


def test_test_loads_strictly(arguments, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMFUSION_VGG19', '/nowhere/vgg19.pth')  # a test needs no losses
    assert test.main(arguments(checkpoint)) == 0
    assert list((tmp_path / 'work').glob('*/*.json'))
    state = torch.load(checkpoint, weights_only=True)
    del state['state_dict']['network.final.bias']
    torch.save(state, tmp_path / 'less.pth')
    assert test.main(arguments(tmp_path / 'less.pth')) == 1
    err = capsys.readouterr().err
    assert 'less.pth: not a checkpoint of this model. Missing in the file: network.final.bias' in err


@contextmanager
def _held(folder):
    """Hold a folder in another process, as a run does."""
    code = f'from mmfusion.utils import only_writer\nwith only_writer({str(folder)!r}):\n    print(flush=True)\n    input()'
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen([sys.executable, '-c', code], **pipes) as process:
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_two_runs_in_one_work_dir(arguments, checkpoint, tmp_path, monkeypatch, capsys):
    """Two trainings would mix their checkpoints; tests have folders of their own, by the second in which they begin."""
    pytest.importorskip('fcntl', reason='this system cannot lock folders')
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    monkeypatch.setattr(Runner, 'train', lambda runner: None)
    arguments = arguments(checkpoint)
    training = [
        arguments[0],
        *arguments[2:],
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
    ]
    with _held(tmp_path / 'work'):
        assert train.main(training) == 1
        assert 'work: another process is writing into it. Wait until it has ended, or ' in capsys.readouterr().err
        assert not list((tmp_path / 'work').iterdir())
        assert test.main(arguments) == 0  # of a checkpoint that the training has left
        capsys.readouterr()
    assert train.main(training) == 0  # the killed one holds it no longer
    capsys.readouterr()
    monkeypatch.setattr(time, 'localtime', lambda *seconds, told=time.localtime: told(0))
    second = time.strftime('%Y%m%d_%H%M%S', time.localtime())
    with _held(tmp_path / 'work' / second):
        assert test.main(arguments) == 1
        assert f'{second}: another process is writing into it' in capsys.readouterr().err


def test_processes_of_a_launcher_share_a_work_dir(tmp_path, monkeypatch):
    """The first of them holds it."""
    pytest.importorskip('fcntl', reason='this system cannot lock folders')
    cfg = Config(dict(launcher='slurm', work_dir=str(tmp_path)))
    with _held(tmp_path):
        for rank, refused in (('0', pytest.raises(ValueError, match='another process')), ('1', nullcontext())):
            monkeypatch.setenv('SLURM_PROCID', rank)
            with refused, running.only_run(cfg):
                pass


def test_config_for_testing_alone(small_data, monkeypatch, tmp_path):
    """Its bases have a loader for training, and no optimizer: mmengine's Runner refuses such a config."""
    monkeypatch.setenv('MMFUSION_DATA', str(small_data))
    options = [*SMALL[2:4], 'test_dataloader.dataset.indices=1', "test_evaluator.metric=['EN']"]
    assert test.main(['lutfuse_msrs', 'random', '--work-dir', str(tmp_path), '--cfg-options', *options]) == 0
    (file,) = tmp_path.glob('*/*.json')
    assert json.loads(file.read_text())['fusion/EN'] > 0


def test_authors_file(arguments, checkpoint, tmp_path, monkeypatch):
    """Tested with the authors' file is what is tested with ours: mmengine alone would test random weights."""
    ours = torch.load(checkpoint, weights_only=True)['state_dict']
    public = to_official({name.removeprefix('network.'): value for name, value in ours.items()})
    torch.save({'params': public}, tmp_path / 'public.pth')
    seen = []

    def remember(runner):
        runner.load_or_resume()
        seen.append(runner.model.state_dict())

    monkeypatch.setattr(Runner, 'test', remember)
    assert test.main(arguments(tmp_path / 'public.pth')) == 0
    assert all(torch.equal(seen[0][name], value) for name, value in ours.items())


def test_train_looks_at_load_from(narrow, tmp_path, capsys):
    torch.save({'backbone.weight': torch.zeros(3)}, tmp_path / 'other.pth')
    options = ['model.losses=None', f'load_from={tmp_path / "other.pth"}', 'experiment_name=train']
    assert train.main(['occo_synthetic', '--work-dir', str(tmp_path / 'work'), *narrow, *options]) == 1
    assert 'nothing in it fits this model' in capsys.readouterr().err


def test_train_refuses_a_config_for_tests(capsys):
    assert train.main(['u2fusion']) == 1
    err = capsys.readouterr().err
    assert 'u2fusion_tno.py: has no train_dataloader, train_cfg and optim_wrapper' in err
    assert 'Beside it are u2fusion_roadscene.' in err


def test_errors_of_a_run(capsys):
    """Those that mmfusion raises are one sentence, also where a registry or a worker wraps them; others come through."""
    report = errors.report_own
    assert report(find_config, 'nothing_like_it') == 1
    assert report(MODELS.build, dict(type='mmfusion.ImageFuser', network=dict(type='FIFN'), output=['none'])) == 1
    assert report(MODELS.build, dict(type='mmfusion.NoSuchNet')) == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("error: 'nothing_like_it' is no config of mmfusion.")
    assert second.startswith('error: output: ')
    assert third.startswith('error: mmfusion.NoSuchNet is not in the mmfusion::model registry')
    with pytest.raises(ValueError, match='Expecting value'):
        report(json.loads, 'x')


def test_error_of_a_worker(capsys):
    def raises():
        raise ValueError(WORKER.format(file=Path(errors.__file__).parents[1] / 'datasets' / 'mfnet.py'))

    assert errors.report_own(raises) == 1
    assert capsys.readouterr().err == 'error: a.png: no such image. Fetch it.\n'


WORKER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/somewhere/torch/utils/data/_utils/worker.py", line 349, in _worker_loop
    data = fetcher.fetch(index)
  File "{file}", line 9, in __getitem__
    raise ValueError('a.png: no such image. Fetch it.')
ValueError: a.png: no such image. Fetch it.
"""


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(', "cannot be read: SyntaxError: '(' was never closed"),
        ("_base_ = './gone.py'", 'gone.py'),
        ('x = 1 / 0', 'cannot be read: ZeroDivisionError'),
        ('x = 1', 'model is None; expected a dict with a type.'),
        ('model = dict()\ntrain_dataloader = dict(batch_size=0)', 'train_dataloader.batch_size is 0; expected a whole'),
        (
            "model = dict()\ntest_dataloader = dict(num_workers='x')",
            "test_dataloader.num_workers is 'x'; expected a whole",
        ),
    ],
)
def test_a_config_that_cannot_be_used(tmp_path, capsys, text, message):
    (tmp_path / 'own.py').write_text(text)
    for run in (train.main, test.main):
        assert run([str(tmp_path / 'own.py'), '--work-dir', str(tmp_path / 'work')]) == 1
        error = capsys.readouterr().err
        assert 'own.py' in error or 'dataloader' in error
        assert message in error


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--work-dir', '{file}'], 'file.txt: cannot be made (File exists); expected a folder'),
        (['--launcher', 'slurm'], '--launcher slurm: the variable SLURM_PROCID is not set; start the command by srun.'),
        (['--launcher', 'mpi'], '--launcher mpi: the variable OMPI_COMM_WORLD_RANK is not set'),
        (['--launcher', 'pytorch'], '--launcher pytorch: the variable RANK is not set'),
        (
            ['--cfg-options', 'val_evaluator.metrics=EN', 'train_dataloader.dataset.pipeline.x=1'],
            'pipeline.x: do not fit',
        ),
        (
            ['--cfg-options', 'train_pipeline.0.x=1'],
            'would change nothing. Set them: train_dataloader.dataset.pipeline.0.x=…',
        ),
        (['--cfg-options', 'model.network.nope=1'], "unexpected keyword argument 'nope'"),
    ],
)
def test_wrong_arguments_of_training(tmp_path, monkeypatch, capsys, args, message):
    for name in ('SLURM_PROCID', 'RANK'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    (tmp_path / 'file.txt').write_text('x')
    args = [arg.format(file=tmp_path / 'file.txt') for arg in args]
    assert train.main(['occo_synthetic', '--work-dir', str(tmp_path / 'work'), *args]) == 1
    assert message in capsys.readouterr().err


def test_untrained_model(arguments, monkeypatch, tmp_path):
    monkeypatch.setattr(Runner, 'test', lambda self: None)
    assert test.main(arguments('random')) == 0


@pytest.mark.parametrize(
    ('verb', 'launcher'), [('train', 'pytorch'), ('test', 'pytorch'), ('test', 'slurm'), ('test', 'mpi')]
)
def test_processes_leave_their_group(verb, launcher, arguments, checkpoint, tmp_path, monkeypatch):
    """A process that ends within its group may be killed at its very end, after hours of training."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    _, names = running._LAUNCHERS[launcher]
    ranks = dict.fromkeys(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), '') | dict(zip(names, '010', strict=True))
    for name, value in dict(ranks, MASTER_ADDR='127.0.0.1', MASTER_PORT=port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    seen = []
    monkeypatch.setattr(Runner, verb, lambda runner: seen.append(torch.distributed.is_initialized()))
    config, file, *options = arguments(checkpoint)
    if verb == 'train':
        options += ['train_dataloader.dataset.num=12', 'train_dataloader.dataset.size=(32,48)']
        assert train.main([config, '--launcher', launcher, *options]) == 0
    else:
        assert test.main([config, file, '--launcher', launcher, *options]) == 0
    assert seen == [True]
    assert not torch.distributed.is_initialized()
