"""The console script: verbs, near names, help, the scripts in tools/ that are the same; and the table of methods."""

import contextlib
import io
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmfusion import cli
from mmfusion.cli import errors, models
from mmfusion.models import cost
from mmfusion.models.hub import find_weights, load_model_config
from mmfusion.utils import configs
from mmfusion.version import __version__

SCRIPTS = {'fuse': 'fuse', 'train': 'train', 'test': 'test', 'evaluate': 'evaluate', 'downstream': 'downstream'}
SCRIPTS |= {'masks': 'generate_masks', 'convert': 'model_converters/from_authors'}


def test_version_and_unknown_verbs(capsys):
    with pytest.raises(SystemExit) as e:
        cli.main(['--version'])
    assert e.value.code == 0
    assert capsys.readouterr().out == f'mmfusion {__version__}\n'
    with pytest.raises(SystemExit) as e:
        cli.main(['evalate', '--ir', 'x'])
    assert e.value.code == 2
    assert "'evalate' is no verb. Did you mean evaluate?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as e:
        cli.main([])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert all(f'\n  {verb} ' in out for verb in cli.VERBS)


@pytest.mark.parametrize('verb', cli.VERBS)
def test_help_of_each_verb(verb, capsys):
    with pytest.raises(SystemExit) as e:
        cli.main([verb, '--help'])
    assert e.value.code == 0
    assert f'usage: mmfusion {verb} ' in capsys.readouterr().out


def test_help_and_mistakes_are_said_without_torch():
    """Importing torch and the libraries of models takes seconds, which nobody waits for a misspelt name."""
    mistakes = [
        ['fuse', 'nope', '--vi', 'v', '--ir', 'i', '--out', 'o'],
        ['fuse', 'seafusion', '--vi', 'no', '--ir', 'no', '--out', 'o'],
        ['video', 'nope', '--vi', 'v', '--ir', 'i', '--out', 'o.mp4'],
        ['compare', '--methods', 'nope', '--data', 'tno', '--out', 'o'],
        ['evaluate', '--vi', 'no', '--ir', 'no', '--fused', 'A=no', '--out', 'o'],
        ['evaluate', '--vi', 'v', '--ir', 'i', '--fused', 'A=no', '--out', 'o', '--metrics', 'EM'],
        ['models', 'nope'],
        ['convert', 'seafusion', 'no', 'o'],
        ['train', 'nope'],
        ['test', 'nope'],
        ['downstream', 'nope', '--variants', 'visible', '--out', 'o'],
        ['masks', '--vi', 'no', '--ir', 'no', '--backend', 'contrast', '--out', 'o'],
        ['draw', 'features', '--images', 'A=no', '--out', 'o'],
        ['draw', 'masks', '--vi', 'no', '--ir', 'no', '--masks', 'no', '--out', 'o'],
        ['export', 'nope', '--out', 'o.onnx'],
        ['view', 'no'],
        ['align', '--vi', 'no', '--ir', 'no', '--chessboard', '9x6', '--out', 'o.json'],
    ]
    assert {argv[0] for argv in mistakes} == set(cli.VERBS)
    lines = [line for verb in cli.VERBS for line in ([verb, '--help'], [verb, '--nope'])] + mistakes
    code = (
        'import contextlib, io, sys\nfrom mmfusion import cli\n'
        f'for argv in {lines}:\n'
        '    try:\n'
        '        with contextlib.redirect_stdout(io.StringIO()):\n            code = cli.main(argv)\n'
        '    except SystemExit as e:\n        code = e.code\n'
        "    print(*argv[:2], bool(code), [m for m in ('torch', 'mmseg', 'mmdet') if m in sys.modules])\n"
    )
    code += (  # what importing the package promises of torch comes with torch
        'import torch\nfrom mmengine.logging import HistoryBuffer\n'
        "print('HistoryBuffer is allowed:', HistoryBuffer in torch.serialization.get_safe_globals())\n"
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    ends = [f'{" ".join(argv[:2])} {argv[1] != "--help"} []' for argv in lines]
    assert out.splitlines() == [*ends, 'HistoryBuffer is allowed: True']


def test_one_way_to_report_errors():
    """Every verb and tool ends by `report` or `report_own`: no exit, no text of an error of its own."""
    root = Path(cli.__file__).resolve().parents[2]
    files = [*(root / 'mmfusion/cli').glob('*.py'), *(root / 'tools').rglob('*.py')]
    assert len(files) > 30
    for file in files:
        text = file.read_text(encoding='utf-8')
        main, _, script = text.partition("if __name__ == '__main__':")
        assert not re.search(r'sys\.exit|SystemExit', main), file
        if file.stem != '__init__':  # which runs the verbs
            assert main.rpartition('def main(')[2].count('    return report') == ('def main(' in main), file
        assert not script or 'sys.exit(main())' in script, file


@pytest.mark.parametrize(
    ('error', 'code', 'text'),
    [
        (ValueError('a: b'), 1, 'error: a: b'),
        (KeyError('a: no b'), 1, 'error: a: no b'),
        (KeyError('inputs'), 1, "error: no 'inputs' where one is looked up (cli/test_main.py, line "),
        (MemoryError(), 1, 'error: out of memory'),
        (KeyboardInterrupt(), 130, 'interrupted'),
    ],
)
def test_how_tools_end(error, code, text, capsys):
    def run(args):
        raise error

    assert errors.report(run, None) == code
    assert text in capsys.readouterr().err


def test_told_to_end(tmp_path, capsys):
    """By `kill`, `timeout` or Docker: as by Ctrl-C, with the code of SIGTERM; workers end without a word."""
    before = signal.getsignal(signal.SIGTERM)

    def run():
        ready, begun = os.pipe()
        worker = os.fork()
        if not worker:
            os.write(begun, b'.')
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        os.kill(worker, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(worker, 0)[1]) == signal.SIGTERM
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            (tmp_path / 'cleaned').touch()

    assert errors.report(run) == errors.report_own(run) == 143
    assert capsys.readouterr().err == 'terminated\n' * 2
    assert (tmp_path / 'cleaned').exists()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_end_where_python_ignores_exceptions(number, code):
    """As in a callback of an import's lock: the export went on to its end."""

    class Ending:
        def __del__(self):
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    def run():
        end = Ending()
        del end
        time.sleep(30)
        raise AssertionError('it went on')

    hook = sys.unraisablehook
    assert errors.report(run) == errors.report_own(run) == code
    assert sys.unraisablehook == hook


@pytest.mark.parametrize(('interruption', 'code'), [(errors.Terminated(), 143), (KeyboardInterrupt(), 130)])
def test_interruptions_that_a_library_tells_as_errors(interruption, code, monkeypatch, capsys):
    """While mmengine formats a config, as it does for each checkpoint, its bare `except` made SyntaxErrors of them."""

    def format_code(*args, **kwargs):
        raise interruption

    monkeypatch.setattr('mmengine.config.config.FormatCode', format_code)
    assert errors.report(lambda: Config(dict(a=1)).pretty_text) == code
    assert errors.report_own(lambda: Config(dict(a=1)).pretty_text) == code
    assert 'Traceback' not in capsys.readouterr().err


def test_interrupted_while_libraries_are_imported(tmp_path, monkeypatch, capsys):
    """Which takes a second or more: no traceback, and the code of Ctrl-C."""
    (tmp_path / 'mmengine.py').write_text('raise KeyboardInterrupt')
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get('PYTHONPATH')])]))
    command = [sys.executable, '-m', 'mmfusion', 'evaluate', '--help']
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert ended.stderr == 'interrupted\n'
    assert ended.returncode in (-signal.SIGINT, 130)  # both are 130 to a shell
    program = [sys.executable, '-c', 'import mmfusion']
    assert 'Traceback' in subprocess.run(program, capture_output=True, text=True, env=env, check=False).stderr

    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, 'import_module', interrupt)
    assert cli.main(['evaluate']) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_output_that_nobody_reads():
    """As of `mmfusion models | head -1`."""
    command = f'set -o pipefail; {sys.executable} -m mmfusion models u2fusion | true'
    ended = subprocess.run(['bash', '-c', command], capture_output=True, text=True, check=False)
    assert ended.stderr == ''
    assert ended.returncode in (0, 141)


def test_output_in_an_encoding_that_lacks_characters(tmp_path):
    """As of Windows, where `> FILE` is in cp1252; names there may hold bytes of yet another."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    with contextlib.redirect_stdout(stream):
        assert errors.report(lambda: 'SF ↑ of caf\udce9.png') == 0
    assert stream.buffer.getvalue() == b'SF ? of caf?.png\n'


@pytest.mark.parametrize('verb', SCRIPTS)
def test_scripts_are_the_verbs(verb, load_tool):
    assert load_tool(f'tools/{SCRIPTS[verb]}.py').main is import_module(f'mmfusion.cli.{verb}').main


def test_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmfusion', '--version'])
    with pytest.raises(SystemExit, match=r'^0$'):
        runpy.run_module('mmfusion', run_name='__main__')
    assert capsys.readouterr().out == f'mmfusion {__version__}\n'


def test_table_of_methods(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(tmp_path))
    assert models.main([]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-6])) <= 80
    (row,) = [line.split() for line in out.splitlines() if 'u2fusion' in line]  # in one line, by the name that is typed
    assert row == ['u2fusion', 'TPAMI', '2022', '659,217', '404.7', 'none', 'fetched']
    assert 'u2fusion_roadscene' not in out
    assert models.main(['--all']) == 0
    out = capsys.readouterr().out
    assert 'u2fusion_tno' in out
    assert 'u2fusion_roadscene' in out
    assert models.main(['']) == 1
    assert "'' is no config of mmfusion" in capsys.readouterr().err
    assert models.main(['muf']) == 1  # a beginning, which other names resemble more
    assert "'muf' is no config of mmfusion. Did you mean MUFusion or " in capsys.readouterr().err


def test_one_method(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv('MMFUSION_WEIGHTS', raising=False)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    assert models.main(['U2Fusion']) == 0
    out = capsys.readouterr().out
    assert 'configs     u2fusion_tno, u2fusion_roadscene\n' in out
    assert 'weights     fetched on first use\n' in out
    assert 'licence     none stated: the weights may not be passed on, and are no part of mmfusion\n' in out
    assert 'file        model.ckpt.index, 905 bytes' in out
    assert models.main(['u3fusion']) == 1
    assert 'Did you mean U2Fusion' in capsys.readouterr().err


@pytest.mark.data
def test_weights_that_are_here(monkeypatch, data_dir, capsys):
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(data_dir / 'zoo'))
    assert models.weights_state('u2fusion_tno') == 'here'
    assert models.weights_state('u2fusion_roadscene') == '–'
    (file,) = find_weights(load_model_config('u2fusion_tno')).values()
    assert file.suffix == '.index'  # of TensorFlow's files, which logs name


def test_seconds_on_this_machine(monkeypatch, capsys):
    """Of small images here; none for a model whose prior would have to be fetched."""
    measure = cost.measure
    monkeypatch.setattr(cost, 'measure', lambda model: measure(model, 32, 32, 1))
    entries = {name: configs.published()[name] for name in ('pmgi_tno', 'mgfusion_unified')}
    monkeypatch.setattr(models, 'published', lambda: entries)
    assert models.main(['--time', '--device', 'cpu']) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert float(rows['pmgi'][5]) > 0
    assert rows['mgfusion'][3:6] == ['119,265', '98.6', '–']
    assert models.main(['pmgi', '--time', '--device', 'cpu']) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('seconds')]
    assert float(line.split()[1]) > 0
    for wrong, said in (
        (['--device', 'cpu'], '--device goes with --time'),
        (['pmgi', '--all'], '--all lists every config'),
    ):
        assert models.main(wrong) == 1
        assert said in capsys.readouterr().err


def test_a_training_set_smaller_than_a_batch(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    options = ['train_dataloader.batch_size=64', 'train_dataloader.dataset.num=8', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False', 'model.network.channels=(4,4,4,4)']
    assert cli.main(['train', 'occo_synthetic', '--work-dir', str(tmp_path), '--cfg-options', *options]) == 1
    assert 'batch_size=64 with drop_last=True, and 8 samples: not one batch' in capsys.readouterr().err
