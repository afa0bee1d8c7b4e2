"""mmfusion compare and mmfusion evaluate refuse wrong arguments before they work."""

import pytest

from mmfusion.cli import compare, evaluate


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--metrics', 'Nope'], "unknown metric(s) ['Nope']"),
        (['--out', '{file}'], 'file.txt: a file; expected a folder'),
        (['--batch-size', '0'], '--batch-size must be at least 1, got 0'),
        (['--gallery', '-1'], '--gallery must be at least 0, got -1'),
        (['--shape', '0', '0'], '--shape: expected a height and a width above 0, got 0 0'),
    ],
)
def test_compare_refuses_before_it_fuses(tmp_path, monkeypatch, capsys, args, message):
    (tmp_path / 'file.txt').write_text('x')
    monkeypatch.setattr(compare, 'prepare', lambda entrants: pytest.fail('too late'))
    args = [arg.format(file=tmp_path / 'file.txt') for arg in args]
    command = [
        '--methods',
        'occo_demo:random',
        '--data',
        str(tmp_path),
        '--device',
        'cpu',
        '--out',
        str(tmp_path / 'o'),
    ]
    assert compare.main([*command, *args]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--picture-size', '0'], '--picture-size must be at least 1'),
        (['--gallery', '²'], '--gallery: expected a number'),
    ],
)
def test_evaluate_refuses_sizes(tmp_path, capsys, args, message):
    with pytest.raises(SystemExit):
        evaluate.main(['--vi', 'vi', '--ir', 'ir', '--fused', 'A=a', '--out', str(tmp_path), *args])
    assert message in capsys.readouterr().err


def test_evaluate_names_a_table_of_another_encoding(pairs, tmp_path):
    (tmp_path / 'o').mkdir()
    (tmp_path / 'o' / 'metrics.json').write_bytes(b'\xff\xfe\x00')
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--fused', f'A={pairs / "vi"}']
    with pytest.raises(SystemExit, match=r'not a metrics\.json of mmfusion evaluate'):
        evaluate.main([*folders, '--metrics', 'EN', '--workers', '1', '--out', str(tmp_path / 'o')])
