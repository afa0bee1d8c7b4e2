"""The command lines: evaluate.py, metric_table.py, figure_panels.py."""

import importlib.util
from pathlib import Path

import cv2
import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def _main(file):
    spec = importlib.util.spec_from_file_location(Path(file).stem, TOOLS / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def evaluated(fused_folders, capsys):
    root = fused_folders
    arguments = [
        '--ir',
        f'{root}/ir',
        '--vi',
        f'{root}/vi',
        '--fused',
        f'a={root}/a',
        f'{root}/b',
        '--out',
        f'{root}/out',
    ]
    _main('evaluate.py')([*arguments, '--metrics', 'EN,MSE', 'CC', '--workers', '1'])
    return root, capsys.readouterr().out


def test_evaluate_writes_and_prints(evaluated):
    root, out = evaluated
    assert {p.name for p in (root / 'out').iterdir()} == {'metrics.csv', 'metrics.json', 'report.html'}
    assert '3 images, protocol tang' in out
    assert 'MSE ↓' in out
    assert '①' in out
    assert 'Rank ↓' in out


def test_evaluate_ends_in_one_sentence(evaluated, refused):
    root, _ = evaluated
    (root / 'vi' / '00002N.png').unlink()
    arguments = ['--ir', f'{root}/ir', '--vi', f'{root}/vi', '--fused', f'a={root}/a', '--out', f'{root}/new']
    refused(
        _main('evaluate.py'), [*arguments, '--metrics', 'EN'], r'error: .*lacks 1 of 3 images: 00002N.*--allow-missing'
    )
    _main('evaluate.py')([*arguments, '--metrics', 'EN', '--allow-missing', '--no-report'])
    assert len((root / 'new' / 'metrics.csv').read_text().splitlines()) == 3


def test_fused_names_pair_by_a_pattern(fused_folders, refused):
    root = fused_folders
    for file in sorted((root / 'a').iterdir()):
        file.rename(file.with_name(f'{file.stem}_fused.png'))
    arguments = ['--ir', f'{root}/ir', '--vi', f'{root}/vi', '--fused', f'a={root}/a', f'b={root}/b']
    arguments += ['--out', f'{root}/new', '--metrics', 'EN', '--no-report', '--workers', '1']
    refused(_main('evaluate.py'), arguments, r"a: --fused-pattern '\{name\}_fused' would pair 3 of them")
    refused(
        _main('evaluate.py'),
        [*arguments, '--fused-pattern', 'c={name}'],
        r"--fused-pattern c=\{name\}: no method 'c' in --fused; there are a, b",
    )
    _main('evaluate.py')([*arguments, '--fused-pattern', 'a={name}_fused'])
    assert len((root / 'new' / 'metrics.csv').read_text().splitlines()) == 7


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(ir=None), 'got --vi; expected --vi DIR and --ir DIR, or --rgbt DIR'),
    (dict(ir='vi'), 'given as the visible and as the infrared images'),
    (dict(ir='none'), 'none: no such folder'),
    (dict(ir='empty'), 'empty .ir. lacks 3 of 3 images'),
    (dict(out='vi/00001D.png'), '00001D.png: a file; expected a folder'),
])  # fmt: skip
def test_mistakes_end_in_one_sentence(fused_folders, changes, message, refused):
    """No traceback, whatever the folders are."""
    (fused_folders / 'empty').mkdir()
    folders = dict(ir='ir', vi='vi', out='new') | changes
    arguments = [x for name, f in folders.items() if f for x in (f'--{name}', f'{fused_folders}/{f}')]
    refused(
        _main('evaluate.py'),
        [*arguments, '--fused', f'a={fused_folders}/a', '--metrics', 'EN', '--workers', '1'],
        f'error: .*{message}',
    )


def test_tables_by_day_and_night(evaluated, capsys, refused):
    root, _ = evaluated
    _main('analysis_tools/metric_table.py')([f'{root}/out/metrics.json', '--metrics', 'EN'])
    text = capsys.readouterr().out
    assert '3 images, protocol tang' in text
    assert '1 day images' in text
    assert '2 night images' in text
    assert text.count('| Method | EN ↑ | Rank ↓ |') == 3
    _main('analysis_tools/metric_table.py')([f'{root}/out/metrics.json', '--format', 'latex', '--no-split'])
    assert capsys.readouterr().out.count(r'\begin{tabular}{lcccc}') == 1
    refused(
        _main('analysis_tools/metric_table.py'),
        [f'{root}/out/metrics.json', '--metrics', 'VIF'],
        'has no VIF; it has EN, MSE, CC',
    )
    refused(_main('analysis_tools/metric_table.py'), [f'{root}/out'], f'{root}/out')


def test_panels(fused_folders, refused):
    root = fused_folders
    arguments = ['--ir', f'{root}/ir', '--vi', f'{root}/vi', '--fused', f'A={root}/a', f'B={root}/b', '--width', '112']
    _main('analysis_tools/figure_panels.py')(
        [*arguments, '--images', '00001D', '00002N', '--box', '5,5,10,8', '--out', f'{root}/panel.png']
    )
    assert cv2.imread(f'{root}/panel.png').shape == (2 * (96 + 4) + 16, 4 * 116, 3)
    refused(
        _main('analysis_tools/figure_panels.py'),
        [*arguments, '--images', '00001D', '--box', '50,5,10,8', '--out', f'{root}/panel.png'],
        'leaves the image',
    )
    rest = [*arguments[:-2], '--out', f'{root}/p.png']
    (root / 'empty').mkdir()
    for more, message in (
        (
            ['--images', '00001D', '--fused', f'A={root}/a', f'C={root}/empty'],
            r'empty \(C\) lacks 00001D\. Add them, or',
        ),
        (['--images', '00001D', 'none'], r'ir \(Infrared\) lacks none; .*b \(B\) lacks none'),
        (['--images', '00001D', '--width', '0'], 'width and per_line must be at least 1, got 0'),
        (['--images', '00001D', '--per-line', '0'], 'width and per_line must be at least 1, got 320 and 0'),
        (['--images', '00001D', '--ir', f'{root}/vi'], 'given as the visible and as the infrared images'),
    ):
        refused(_main('analysis_tools/figure_panels.py'), [*rest, *more], message)
        assert not (root / 'p.png').exists()
    more = ['--images', '00001D', '--fused', f'A={root}/a', f'C={root}/empty', '--allow-missing']
    _main('analysis_tools/figure_panels.py')([*rest, *more])
    assert (root / 'p.png').exists()


def test_panels_read_as_the_evaluation_does(fused_folders, refused):
    """Four channels give the columns of two folders; sources of more than 8 bits are stretched, fused images are not."""
    for file in (fused_folders / 'vi').iterdir():
        ir = cv2.imread(str(fused_folders / 'ir' / file.name), cv2.IMREAD_GRAYSCALE)
        (fused_folders / 'rgbt').mkdir(exist_ok=True)
        cv2.imwrite(str(fused_folders / 'rgbt' / file.name), cv2.merge([cv2.imread(str(file)), ir]))
    main = _main('analysis_tools/figure_panels.py')
    panels = []
    sources = ['--ir', f'{fused_folders}/ir', '--vi', f'{fused_folders}/vi'], ['--rgbt', f'{fused_folders}/rgbt']
    for k, given in enumerate(sources):
        rest = ['--fused', f'A={fused_folders}/a', '--images', '00001D', '--out', f'{fused_folders}/{k}.png']
        main([*given, *rest, '--depth16', 'stretch'])
        panels.append(cv2.imread(f'{fused_folders}/{k}.png'))
    assert (panels[0] == panels[1]).all()
    refused(main, [*sources[0][:2], *rest], 'error: got --ir; expected --vi DIR and --ir DIR, or --rgbt DIR')
