"""One comparison of methods: what is given, going on, failures, files, and two processes that share the work."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfusion.cli import compare as cli
from mmfusion.comparison.entrants import Entrant, Pairs, open_data, parse_entrant, parse_entrants
from mmfusion.comparison.methods import Comparison, prepare
from mmfusion.utils import write_image

METRICS = ['EN', 'SF', 'CC']
pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folders ``vi`` and ``ir`` with four pairs, one of another size, and ``given``, fused by other means."""
    folder, rng = tmp_path_factory.mktemp('data'), np.random.default_rng(0)
    for name, size in zip('abcd', ((24, 32), (24, 32), (28, 36), (24, 32)), strict=True):
        vi, ir = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)
        write_image(folder / 'vi' / f'{name}.png', vi)
        write_image(folder / 'ir' / f'{name}.png', ir)
        write_image(folder / 'given' / f'{name}.png', vi // 2 + ir[..., None] // 2)
    return folder


def run(out, *given, **options):
    """The verb on the pairs, with little to do; the exit code."""
    arguments = {'--metrics': METRICS, '--shape': ['16', '16'], '--workers': ['1'], '--device': ['cpu'], **options}
    return cli.main([*given, '--out', str(out), *(x for key, values in arguments.items() for x in (key, *values))])


def test_what_a_method_is(tmp_path):
    assert parse_entrant('U2FUSION').name == 'U2Fusion'  # as its paper writes it
    assert parse_entrant('pmgi_tno:random') == Entrant('pmgi_tno', 'pmgi_tno', 'random')
    assert parse_entrant('mine=occo_fmb:a/b.pth') == Entrant('mine', 'occo_fmb', 'a/b.pth')
    (tmp_path / 'mine.py').write_text('model = dict()')
    entrant = parse_entrant(f'm={tmp_path / "mine.py"}:C:\\b.pth')
    assert (entrant.config, entrant.weights) == (str(tmp_path / 'mine.py'), 'C:\\b.pth')
    assert parse_entrant(f'given={tmp_path}').folder == tmp_path
    with pytest.raises(FileNotFoundError, match='Did you mean U2Fusion'):
        parse_entrant('u3fusion')
    for text in ('a/b=pmgi', 'vi=pmgi', '=pmgi'):
        with pytest.raises(ValueError, match='cannot be the name of a method'):
            parse_entrant(text)


def test_all_that_is_missing_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match=r'2 of 2 methods have no weights:\n  tardal_tno: the authors. weights are not here.*\n  .*gone\.pth: no such',
    ):
        prepare([parse_entrant('tardal'), parse_entrant('mine=occo_fmb:gone.pth')])
    with pytest.raises(ValueError, match='two methods are called PMGI'):
        parse_entrants(['pmgi:random'] * 2)


def test_what_the_images_are(data, tmp_path, monkeypatch):
    assert [stem for stem, *_ in open_data(data).items] == list('abcd')
    assert open_data(vi=data / 'vi', ir=data / 'ir') == open_data(data)
    (tmp_path / 'a').mkdir()
    with pytest.raises(ValueError, match=r'expected one folder called vi or vis.* found a\. Give the two'):
        open_data(tmp_path)
    with pytest.raises(ValueError, match=r'--data tnoo: neither a folder nor one of dronevehicle, .*tno'):
        open_data('tnoo')
    with pytest.raises(ValueError, match='by --data NAME or DIR, or by --vi DIR and --ir DIR'):
        open_data(vi=data / 'vi')
    for part in ('vi', 'ir'):
        shutil.copytree(data / part, tmp_path / 'TNO' / part)
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path))
    pairs = open_data('tno')
    assert pairs.items[0] == ('a', tmp_path / 'TNO' / 'vi' / 'a.png', tmp_path / 'TNO' / 'ir' / 'a.png')
    assert [stem for stem, *_ in pairs.items] == list('abcd')


def test_compare_and_go_on(data, tmp_path, capsys):
    out, given = tmp_path / 'out', ['--data', str(data)]
    assert run(out, '--methods', 'pmgi:random', f'given={data / "given"}', *given) == 0
    text = capsys.readouterr().out
    assert 'PMGI' in text
    assert 'Params (M)' in text
    assert sorted(f.name for f in out.iterdir()) == [
        *('costs.json', 'fused', 'metrics.csv', 'metrics.json', 'report.html', 'table.md', 'table.tex')
    ]
    assert r' & \textbf{0.0420} & ' in (out / 'table.tex').read_text()
    page = (out / 'report.html').read_text()
    assert '"cost_note": "One pair of 16×16, ' in page
    first = {f.name: f.stat().st_mtime_ns for f in (out / 'fused' / 'PMGI').glob('*.png')}
    costs = json.loads((out / 'costs.json').read_text())
    values = json.loads((out / 'metrics.json').read_text())['values']
    (out / 'fused' / 'PMGI' / 'b.png').unlink()
    # A method more, and an image lost: nothing else is done again.
    assert run(out, '--methods', 'pmgi:random', 'sdnet:random', f'given={data / "given"}', *given) == 0
    assert 'PMGI: 1 fused, 3 were finished' in capsys.readouterr().out
    second = {f.name: f.stat().st_mtime_ns for f in (out / 'fused' / 'PMGI').glob('*.png')}
    assert {name for name in first if first[name] != second[name]} == {'b.png'}
    found = json.loads((out / 'metrics.json').read_text())
    assert found['methods'] == ['PMGI', 'SDNet', 'given']
    assert found['values']['PMGI'] == values['PMGI']
    assert json.loads((out / 'costs.json').read_text())['PMGI'] == costs['PMGI']
    # Other weights under the same name are never mixed with these.
    assert run(out, '--methods', 'PMGI=sdnet:random', f'given={data / "given"}', *given) == 1
    assert 'made with other settings' in capsys.readouterr().err


def test_a_method_that_fails_is_left_out(data, tmp_path, capsys):
    """Said with its reason; the others are compared; the exit code is 1."""
    shutil.copytree(data / 'given', tmp_path / 'given')
    (tmp_path / 'given' / 'c.png').unlink()
    arguments = ['--methods', 'pmgi:random', f'given={tmp_path / "given"}', '--data', str(data), '--no-cost']
    assert run(tmp_path / 'out', *arguments) == 1
    err = capsys.readouterr().err
    assert '1 of 2 methods are left out:\n  given: ' in err
    assert 'lacks 1 of 4 images: c' in err
    assert json.loads((tmp_path / 'out/metrics.json').read_text())['methods'] == ['PMGI']
    torch.save({'x': torch.zeros(1)}, tmp_path / 'x.pth')
    assert run(tmp_path / 'none', '--methods', f'pmgi:{tmp_path / "x.pth"}', '--data', str(data), '--no-cost') == 1
    assert 'no method is left to compare:\n  PMGI: ' in capsys.readouterr().err


@pytest.mark.parametrize('content', ['{', '{"PMGI": 3}', '[]', b'\xff\xfe'])
def test_costs_that_cannot_be_read_are_named(data, tmp_path, content):
    (tmp_path / 'costs.json').write_bytes(content if isinstance(content, bytes) else content.encode())
    pairs = open_data(data)
    comparison = Comparison([], pairs, tmp_path, 'cpu', say=lambda text: None)
    comparison.shape = (16, 16)
    with pytest.raises(ValueError, match=r'costs\.json: not a costs\.json of mmfusion compare'):
        comparison._cost('PMGI', {}, lambda: pytest.fail('measured'))


def test_given_images_pair_by_a_pattern(data, tmp_path, capsys):
    for file in (data / 'given').iterdir():
        shutil.copy(file, tmp_path / f'{file.stem}_fused{file.suffix}')
    arguments = ['--methods', f'given={tmp_path}', '--data', str(data), '--no-cost', '--metrics', 'EN']
    assert run(tmp_path / 'out', *arguments) == 1
    assert "--fused-pattern '{name}_fused' would pair them." in capsys.readouterr().err
    assert run(tmp_path / 'out', *arguments, '--fused-pattern', '{name}_fused') == 0


def compared(folder, out):
    items = [(name, folder / 'vi' / f'{name}.png', folder / 'ir' / f'{name}.png') for name in 'abcd']
    entrants = [parse_entrant('pmgi:random'), Entrant('bad', 'sdnet', str(folder / 'vi' / 'a.png'))]
    comparison = Comparison(entrants, Pairs(items), out, 'cpu', say=lambda text: None)
    comparison.fuse(shape=None)
    return comparison.evaluate(METRICS).values, comparison.failed


def worker(rank, size, folder):
    """One of two processes; both see the same values and the same failure."""
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=size)
    values, failed = compared(Path(folder).parent / 'shared', Path(folder) / 'out')
    torch.save(dict(values=values, failed=failed), f'{folder}/{rank}.pt')
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes(two_processes, data, tmp_path_factory, tmp_path):
    shutil.copytree(data, tmp_path_factory.getbasetemp() / 'shared')
    ranks = two_processes(__file__)
    assert ranks[0] == ranks[1]
    assert ranks[0]['values'] == compared(data, tmp_path / 'out')[0]
    assert 'not' in ranks[0]['failed']['bad']
