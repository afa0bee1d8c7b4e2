"""mmfusion compare and mmfusion evaluate refuse wrong arguments before they work."""

import os
import shlex

import pytest
from torch.distributed.run import parse_args

from mmfusion.cli import compare, evaluate
from mmfusion.comparison import methods
from mmfusion.evaluation import report


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--out', '{file}'], 'file.txt: a file; expected a folder'),
        (['--out', '{file}/sub'], 'file.txt/sub: cannot be written (not a directory)'),
        (['--methods', 'A='], "'A=': expected [NAME=]METHOD[:WEIGHTS], or NAME=DIR"),
        (['--methods', 'A=gone'], 'or give the path of a config. It is no folder of fused images, either.'),
        (['--methods', 'occo_demo:gone.pth'], 'gone.pth: no such checkpoint.'),
    ],
)
def test_compare_refuses_before_it_fuses(pairs, tmp_path, monkeypatch, capsys, args, message):
    (tmp_path / 'file.txt').write_text('x')
    monkeypatch.setattr(methods, 'prepare', lambda entrants: pytest.fail('too late'))
    args = [arg.format(file=tmp_path / 'file.txt') for arg in args]
    command = f'--methods occo_demo:random --data {tmp_path} --device cpu --out {tmp_path / "o"}'.split()
    assert compare.main([*command, *args]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'o').exists()


@pytest.mark.parametrize('verb', [compare, evaluate])
@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ('--workers 0', "--workers: expected a whole number of at least 1, got '0'"),
        ('--gallery -1', "--gallery: expected a whole number of at least 0, got '-1'"),
        ('--gallery ²', "--gallery: expected a whole number of at least 0, got '²'"),
        ('--metrics all EN', "--metrics: 'all' stands alone, got 'all EN'"),
        ('--metrics Nope', "--metrics: unknown metric(s) ['Nope']; known are EN, "),
        ('--metrics ,', "--metrics: no name in ','; expected 'all', or names such as"),
        ('--picture-size 0', "--picture-size: expected a whole number of at least 1, got '0'"),
        ('--batch-size 0', "--batch-size: expected a whole number of at least 1, got '0'"),
        ('--shape 0 9', "--shape: expected a whole number of at least 1, got '0'"),
    ],
)
def test_wrong_arguments_of_measuring(capsys, verb, args, message):
    given = '--methods occo_demo:random' if verb is compare else '--fused A=a'
    with pytest.raises(SystemExit):
        verb.main([*f'--vi vi --ir ir --out o {given}'.split(), *args.split()])
    err = capsys.readouterr().err
    assert message in err or f'unrecognized arguments: {args}' in err


def test_names_of_methods_are_no_paths(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['--vi', 'vi', '--ir', 'ir', '--out', 'o', '--fused', '../A=a'])
    assert "'../A' cannot be the name of a method; give another one by NAME=" in capsys.readouterr().err


def test_a_method_in_another_encoding(pairs, tmp_path):
    """Its images were there, and the table was not."""
    folders = '--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(tmp_path / 'o')
    name = os.fsdecode(b'caf\xe9')
    options = '--metrics', 'EN', '--workers', '1', '--no-cost', '--device', 'cpu'
    assert compare.main(['--methods', f'{name}={pairs / "vi"}', f'B={pairs / "vi"}', *folders, *options]) == 0
    assert b'caf\xe9' in (tmp_path / 'o/table.md').read_bytes()


def test_what_cannot_be_written_is_said_first(pairs, tmp_path, monkeypatch, refused):
    """Before anything is measured, and a report that fails in one sentence, too."""
    command = f'--vi {pairs / "vi"} --ir {pairs / "ir"} --fused A={pairs / "vi"} --metrics EN --workers 1'.split()
    (tmp_path / 'file').write_text('x')
    monkeypatch.setattr(report, 'evaluate_folders', lambda *args, **kwargs: pytest.fail('too late'))
    refused(
        evaluate.main,
        [*command, '--out', str(tmp_path / 'file/sub')],
        r'error: --out .*file/sub: cannot be written \(not a directory\)\. Choose',
    )
    monkeypatch.undo()
    (tmp_path / 'o' / 'report.html').mkdir(parents=True)
    refused(evaluate.main, [*command, '--out', str(tmp_path / 'o')], r'error: .*: is a directory')


def test_evaluate_names_a_table_of_another_encoding(pairs, tmp_path, refused):
    (tmp_path / 'o').mkdir()
    (tmp_path / 'o' / 'metrics.json').write_bytes(b'\xff\xfe\x00')
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--fused', f'A={pairs / "vi"}']
    refused(
        evaluate.main,
        [*folders, '--metrics', 'EN', '--workers', '1', '--out', str(tmp_path / 'o')],
        r'not a metrics\.json of mmfusion evaluate',
    )


def test_documented_command_of_several_processes():
    """torchrun leaves all options to the tool, also --vi, which it could take for one of its own."""
    line = next(line for line in compare.__doc__.splitlines() if 'torchrun' in line)
    args = parse_args(shlex.split(line.replace('…', '--vi A --ir B'))[1:])
    assert (args.module, args.training_script) == (True, 'mmfusion')
    assert args.training_script_args == ['compare', '--launcher', 'pytorch', '--vi', 'A', '--ir', 'B']
