"""mmfusion fuse and demo/image_demo.py: names, sizes, resuming, refusals."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import torch

from mmfusion.apis import FusionInferencer
from mmfusion.cli import evaluate
from mmfusion.cli.fuse import main
from mmfusion.utils import read_visible, write_image
from mmfusion.utils.configs import find_config


@pytest.fixture
def fuse(checkpoint, narrow, pairs):
    """Runs the tool on ``pairs`` with more arguments; the exit code."""
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out'), '--device', 'cpu']
    return lambda *args, weights=checkpoint: main(['occo_fmb', str(weights), *folders, *args, *narrow])


def states(folder):
    """When each image was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob('*.png')}


def test_names_sizes_and_values(fuse, pairs, checkpoint, capsys):
    assert fuse('--batch-size', '2') == 0
    assert '3 images fused, 0 skipped' in capsys.readouterr().out
    assert sorted(file.name for file in (pairs / 'out').iterdir()) == ['a.png', 'b.png', 'c.png', 'fuse.json']
    options = {'model.network.channels': (4, 4, 8, 8)}
    inferencer = FusionInferencer('occo_fmb', checkpoint, 'cpu', options, show_progress=False)
    for name in 'abc':
        expected = inferencer(pairs / 'vi' / f'{name}.png', pairs / 'ir' / f'{name}.bmp')
        got = read_visible(pairs / 'out' / f'{name}.png')
        assert got.shape == expected.shape
        assert np.abs(got.astype(int) - expected).max() <= 1
    record = json.loads((pairs / 'out' / 'fuse.json').read_text())['settings']
    assert (record['config'], record['checkpoint'], record['tile']) == ('occo_fmb', 'narrow.pth', None)


def test_a_method_and_its_config_are_one_setting(checkpoint, narrow, pairs, capsys):
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out'), '--device', 'cpu']
    for name in ('occo', 'occo_fmb'):
        assert main([name, str(checkpoint), *folders, *narrow]) == 0
    assert '0 images fused, 3 skipped' in capsys.readouterr().out


def test_goes_on_where_it_was_stopped(fuse, pairs, monkeypatch, capsys):
    whole = FusionInferencer.fuse_pairs

    def stopped(self, todo, batch_size):
        yield next(whole(self, todo, batch_size))
        raise KeyboardInterrupt

    monkeypatch.setattr(FusionInferencer, 'fuse_pairs', stopped)
    assert fuse() == 130
    monkeypatch.undo()
    first = states(pairs / 'out')
    assert list(first) == ['a.png']
    (pairs / 'out' / '.b.png.x.tmp').write_bytes(b'half an image')  # what a kill in the middle of writing leaves
    assert fuse() == 0
    out = capsys.readouterr().out
    assert '1 of 3 images are finished and skipped' in out
    assert '2 images fused, 1 skipped' in out
    second = states(pairs / 'out')
    assert {**second, **first} == second
    # Nothing to do: no model is built, so that the checkpoint's content is not asked for either.
    monkeypatch.setattr(FusionInferencer, '__init__', None)
    assert fuse() == 0
    monkeypatch.undo()
    assert states(pairs / 'out') == second
    assert fuse('--overwrite') == 0
    assert all(time > second[name] for name, time in states(pairs / 'out').items())


def test_images_whose_sources_changed_are_fused_again(fuse, pairs, capsys):
    """Other images of the same names were "finished and skipped": the old ones stayed."""
    assert fuse() == 0
    record = json.loads((pairs / 'out' / 'fuse.json').read_text())
    before = {file.name: file.read_bytes() for file in (pairs / 'out').glob('*.png')}
    name = sorted(before)[0]
    write_image(pairs / 'vi' / name, 255 - read_visible(pairs / 'vi' / name))
    assert fuse() == 0
    assert '1 images fused, 2 skipped' in capsys.readouterr().out
    changed = {file.name for file in (pairs / 'out').glob('*.png') if file.read_bytes() != before[file.name]}
    assert changed == {name}
    del record['sources']  # as older versions wrote it
    (pairs / 'out' / 'fuse.json').write_text(json.dumps(record))
    assert fuse() == 0
    assert '0 images fused, 3 skipped' in capsys.readouterr().out


def test_two_kinds_of_images_are_not_mixed(fuse, pairs, checkpoint, tmp_path, capsys):
    assert fuse() == 0
    before = states(pairs / 'out')
    (pairs / 'out' / 'c.png').unlink()
    assert fuse('--tile', '16', '16') == 1
    assert (
        '2 files are there that were made with other settings: tile was None, is now [16, 16].'
        in capsys.readouterr().err
    )
    other = torch.load(checkpoint, weights_only=True)
    other['state_dict']['network.final.bias'] += 1
    torch.save(other, tmp_path / 'narrow.pth')
    assert fuse(weights=tmp_path / 'narrow.pth') == 1
    assert 'checkpoint_sha256 was' in capsys.readouterr().err
    (pairs / 'out' / 'fuse.json').write_text('[')
    assert fuse() == 1
    assert 'fuse.json: cannot be read' in capsys.readouterr().err
    (pairs / 'out' / 'fuse.json').unlink()
    assert fuse() == 1
    assert 'but no fuse.json says how they were made' in capsys.readouterr().err
    assert states(pairs / 'out') == {name: before[name] for name in ('a.png', 'b.png')}
    # Nor with images of other names, which the new record would speak of.
    (pairs / 'out' / 'a.png').rename(pairs / 'out' / 'z.png')
    assert fuse('--overwrite') == 1
    assert '1 file is there (such as z.png), but no fuse.json' in capsys.readouterr().err


def test_a_stopped_overwrite_leaves_nothing_of_the_old_settings(fuse, pairs, monkeypatch, capsys):
    assert fuse() == 0

    def stopped(self, todo, batch_size):
        raise KeyboardInterrupt

    monkeypatch.setattr(FusionInferencer, 'fuse_pairs', stopped)
    assert fuse('--overwrite', '--tile', '16', '16') == 130
    monkeypatch.undo()
    assert states(pairs / 'out') == {}
    assert fuse('--tile', '16', '16') == 0
    assert '3 images fused, 0 skipped' in capsys.readouterr().out.splitlines()[-1]


def test_unpaired(fuse, pairs, capsys):
    write_image(pairs / 'vi' / 'lonely.png', np.zeros((16, 16, 3), np.uint8))
    (pairs / 'ir' / 'c.bmp').unlink()
    assert fuse() == 1
    assert '2 image(s) of' in (err := capsys.readouterr().err)
    assert 'c, lonely. Visible and infrared images are paired by file name' in err
    assert not (pairs / 'out').exists()
    assert fuse('--allow-missing') == 0
    assert 'left out, as they have no counterpart: 2 visible images: c, lonely' in capsys.readouterr().out
    assert set(states(pairs / 'out')) == {'a.png', 'b.png'}
    for file in (pairs / 'ir').iterdir():
        file.rename(file.with_stem(f'{file.stem}_ir'))
    assert fuse('--allow-missing') == 1
    assert 'no image of the one has a counterpart' in capsys.readouterr().err


def test_sources_are_never_overwritten(load_tool, checkpoint, narrow, pairs, capsys):
    files = {file: file.read_bytes() for file in (pairs / 'vi').iterdir()}
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'ir' / '..' / 'vi')]
    assert main(['occo_fmb', str(checkpoint), *folders, '--overwrite', *narrow]) == 1
    assert 'is the folder of the source images' in capsys.readouterr().err
    assert {file: file.read_bytes() for file in (pairs / 'vi').iterdir()} == files


def test_a_damaged_file_stops_with_its_name_and_keeps_what_is_done(fuse, pairs, capsys):
    whole = (pairs / 'vi' / 'b.png').read_bytes()
    (pairs / 'vi' / 'b.png').write_bytes(whole[: len(whole) // 2])
    assert fuse() == 1
    assert 'b.png: cannot be read as an image' in capsys.readouterr().err
    assert list(states(pairs / 'out')) == ['a.png']
    (pairs / 'vi' / 'b.png').write_bytes(whole)
    assert fuse() == 0
    assert '2 images fused, 1 skipped' in capsys.readouterr().out


def test_other_refusals(fuse, pairs, tmp_path, capsys):
    torch.save({'other.weight': torch.zeros(8, 1, 3, 3)}, tmp_path / 'other.pth')
    assert fuse(weights=tmp_path / 'other.pth') == 1
    assert 'other.pth: not a checkpoint of this model' in capsys.readouterr().err
    assert not (pairs / 'out').exists()
    assert fuse('--batch-size', '0') == 1
    assert '--batch-size must be at least 1' in capsys.readouterr().err
    (tmp_path / 'file').touch()
    assert fuse('--out', str(tmp_path / 'file' / 'sub')) == 1
    assert 'file/sub: cannot be written (not a directory)' in capsys.readouterr().err
    assert fuse(weights=tmp_path / 'othr.pth') == 1
    assert re.search(r'othr\.pth: no such checkpoint\. Did you mean .*/other\.pth\? Give a', capsys.readouterr().err)


def test_demo(load_tool, checkpoint, narrow, pairs, capsys):
    demo = load_tool('demo/image_demo.py')
    pair = [str(pairs / 'vi' / 'b.png'), str(pairs / 'ir' / 'b.bmp')]
    out = pairs / 'demo' / 'fused.png'
    assert demo.main([*pair, 'occo_fmb', str(checkpoint), '--out', str(out), '--device', 'cpu', *narrow]) == 0
    assert read_visible(out).shape == (19, 17, 3)
    pair[1] = str(pairs / 'ir' / 'a.bmp')
    assert demo.main([*pair, 'occo_fmb', str(checkpoint), '--out', str(out), *narrow]) == 1
    assert 'b.png is 17×19 but' in capsys.readouterr().err


def test_weights_by_option(fuse, pairs, checkpoint, narrow, capsys):
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out'), *narrow]
    assert main(['occo_fmb', '--weights', str(checkpoint), *folders]) == 0
    assert fuse() == 0
    assert '0 images fused, 3 skipped' in capsys.readouterr().out
    assert main(['occo_fmb', str(checkpoint), '--weights', str(checkpoint), *folders]) == 1
    assert 'give the weights once' in capsys.readouterr().err
    assert main(['occo_fmb', *folders]) == 1
    assert 'occo_fmb: give its weights (--weights FILE): none are published for this config.' in capsys.readouterr().err
    assert main(['oco_fmb', *folders]) == 1
    assert "'oco_fmb' is no config of mmfusion. Did you mean occo_fmb" in capsys.readouterr().err


@pytest.mark.data
def test_authors_files_as_they_are(data_dir, pairs, monkeypatch, capsys):
    """Given by --weights, and found by their hash: the same images."""
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--device', 'cpu']
    zoo = data_dir / 'zoo'
    assert main(['pmgi', *folders, '--out', str(pairs / 'given'), '--weights', str(zoo / 'PMGI')]) == 0
    monkeypatch.setenv('MMFUSION_WEIGHTS', str(zoo))
    assert main(['PMGI', *folders, '--out', str(pairs / 'found')]) == 0
    assert all(
        (pairs / 'found' / f'{k}.png').read_bytes() == (pairs / 'given' / f'{k}.png').read_bytes() for k in 'abc'
    )
    assert main(['sdnet', *folders, '--out', str(pairs / 'wrong'), '--weights', str(zoo / 'PMGI')]) == 1
    assert "It looks like the authors' weights of pmgi (PMGI)" in capsys.readouterr().err


@pytest.fixture
def rgbt(tmp_path):
    """A folder of one pair in four channels, and the same in two folders."""
    pair = np.random.default_rng(5).integers(0, 256, (32, 40, 4), np.uint8)
    for name, image in (('rgbt', pair), ('vi', pair[..., :3]), ('ir', pair[..., 3])):
        write_image(tmp_path / name / 'a.png', image)
    return tmp_path


def test_four_channels(rgbt, load_tool, capsys):
    """Files of R, G, B and thermal give what their parts give; one folder for both is refused."""
    tool, average = load_tool('tools/fuse.py'), load_tool('demo/average_pairs.py')
    model = ['occo_fmb', 'random', '--device', 'cpu', '--cfg-options', 'model.network.channels=(4,4,4,4)']
    two = ['--vi', f'{rgbt}/vi', '--ir', f'{rgbt}/ir']
    for k, sources in enumerate((two, ['--rgbt', f'{rgbt}/rgbt'])):
        assert tool.main([*model, *sources, '--out', f'{rgbt}/fused{k}']) == 0
        assert average.main([*sources, '--out', f'{rgbt}/average{k}']) == 0
    for kind in ('fused', 'average'):
        a, b = (read_visible(rgbt / f'{kind}{k}' / 'a.png') for k in (0, 1))
        np.testing.assert_array_equal(a, b)
    assert load_tool('demo/image_demo.py').main([*model, '--rgbt', f'{rgbt}/rgbt/a.png', '--out', f'{rgbt}/a.png']) == 0
    np.testing.assert_array_equal(read_visible(rgbt / 'a.png'), read_visible(rgbt / 'fused0' / 'a.png'))
    shutil.copytree(rgbt / 'vi', rgbt / 'copy')
    capsys.readouterr()
    for sources, message in (
        (['--vi', f'{rgbt}/rgbt', '--ir', f'{rgbt}/rgbt'], 'given as the visible and as the infrared images'),
        (['--vi', f'{rgbt}/vi', '--ir', f'{rgbt}/rgbt'], 'a.png: an infrared image with a fourth channel'),
        (['--rgbt', f'{rgbt}/vi'], 'a.png: expected four channels (R, G, B, thermal), found an image of mode RGB'),
        (['--vi', f'{rgbt}/vi', '--ir', f'{rgbt}/copy'], 'copy/a.png: in every pixel the same picture as'),
        (['--rgbt', f'{rgbt}/vi', '--ir', f'{rgbt}/ir'], 'got --ir, --rgbt; expected --vi DIR and --ir DIR, or --rgbt'),
        ([], 'got no images; expected'),
    ):
        for allow in ([], ['--allow-missing']):
            assert tool.main([*model, *sources, *allow, '--out', f'{rgbt}/none']) == 1
            assert message in capsys.readouterr().err
        assert average.main([*sources, '--out', f'{rgbt}/none']) == 1
        assert message in capsys.readouterr().err


def test_the_demo_of_one_pair_refuses_folders(rgbt, load_tool, capsys):
    demo = load_tool('demo/image_demo.py')
    model = ['occo_fmb', 'random', '--device', 'cpu', '--cfg-options', 'model.network.channels=(4,4,4,4)']
    file, folder = f'{rgbt}/vi/a.png', f'{rgbt}/ir'
    for vi, ir, out, message in (
        (f'{rgbt}/vi', folder, 'x.png', 'vi: a folder; expected one visible image. Fuse folders by mmfusion fuse'),
        (file, folder, 'x.png', 'ir: a folder; expected one infrared image'),
        (file, file, 'x.png', 'given as the visible and as the infrared image'),
        (file, f'{rgbt}/gone.png', 'x.png', 'gone.png: no such file. Check the path'),
        (file, f'{folder}/a.png', 'x', '/x: expected a file that ends in one of .png'),
        (file, '', 'x.png', 'ir: an empty path; expected an image file.'),
        (file, f'{folder}/a.png', 'vi/a.png', 'a.png: would overwrite its source'),
        (file, f'{folder}/a.png', 'vi/../ir/a.png', 'a.png: would overwrite its source'),
    ):
        assert demo.main([vi, ir, *model, '--out', f'{rgbt}/{out}']) == 1
        assert message in capsys.readouterr().err
    assert not (rgbt / 'x.png').exists()
    average = load_tool('demo/average_pairs.py')
    for out in ('vi', 'ir'):
        assert average.main(['--vi', f'{rgbt}/vi', '--ir', folder, '--out', f'{rgbt}/{out}']) == 1
        assert f'{out}: would overwrite its source' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--cfg-options', 'model.network.nope=3'], 'occo_fmb.py: the model cannot be built: FIFN.__init__()'),
        (['--cfg-options', 'model.network=3'], 'occo_fmb.py: the model cannot be built: cfg should be a dict'),
        (['--cfg-options', 'model=3'], 'occo_fmb.py: model is 3; expected a dict with a type.'),
        (['--device', 'meta'], "device='meta': this torch has no such device here."),
        (['--weights', ''], 'weights: an empty path; expected a file'),
        (['--out', ''], '--out: an empty path; expected a folder'),
        (['--cfg-options', 'model.network.channels=4'], 'model.network.channels=4: does not work: '),
        (
            ['--cfg-options', 'model.network.channels=ab'],
            'ab: does not work: {config}: the model cannot be built: ',
        ),
        (['--cfg-options', 'model.network.type=Foo'], 'cannot be built: Foo is not in the mmfusion::model registry. '),
        (['--weights', 'open-mmlab://foo'], 'open-mmlab://foo: cannot be fetched (KeyError: foo). Download it'),
        (['--weights', 's3://a/b.pth'], 's3://a/b.pth: cannot be fetched (ImportError: '),
        (['--ir-range', '0', 'inf'], "(--ir-range) is ['0', 'inf']; expected two numbers"),
        (['--cfg-options', 'model.test_cfg=3'], 'model.test_cfg=3: does not work: '),
        (['--weights', '{empty}'], 'empty: a folder without files; expected a checkpoint'),
        (['--out', '{file}/out'], 'file.txt/out'),
    ],
)
def test_wrong_options_end_in_a_sentence(pairs, tmp_path, capsys, args, message):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file.txt').write_text('x')
    args = [arg.format(empty=tmp_path / 'empty', file=tmp_path / 'file.txt') for arg in args]
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(tmp_path / 'o'), '--device', 'cpu']
    weights = [] if '--weights' in args else ['random']
    assert main(['occo_fmb', *weights, *folders, *args]) == 1
    error = capsys.readouterr().err
    assert message.format(config=find_config('occo_fmb')) in error
    assert 'Errno' not in error


def test_names_of_another_encoding(fuse, pairs, capsys):
    """Such as unpacked from a Windows archive: bytes that are no UTF-8."""
    for kind, suffix in (('vi', '.png'), ('ir', '.bmp')):
        os.rename(pairs / kind / f'a{suffix}', os.fsencode(pairs / kind) + b'/caf\xe9' + suffix.encode())
    assert fuse() == 0
    assert b'caf\xe9.png' in os.listdir(os.fsencode(pairs / 'out'))
    assert fuse() == 0
    assert '0 images fused, 3 skipped' in capsys.readouterr().out
    sources = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--fused', f'A={pairs}/out', '--metrics', 'EN']
    assert evaluate.main([*sources, '--workers', '1', '--out', str(pairs / 'values')]) == 0
    assert b'caf\xe9,EN' in (pairs / 'values' / 'metrics.csv').read_bytes()
    assert (pairs / 'values' / 'report.html').is_file()


def test_the_home_in_options(fuse, pairs, monkeypatch, capsys):
    """Of ``--out=~/out`` a shell leaves ``~``, and a folder of that name was made."""
    monkeypatch.setenv('HOME', str(pairs))
    monkeypatch.chdir(pairs)
    assert fuse('--out=~/home', '--vi=~/vi') == 0
    assert sorted(file.suffix for file in (pairs / 'home').iterdir()) == ['.json', '.png', '.png', '.png']
    assert not (pairs / '~').exists()


def test_an_override_without_a_value(pairs, capsys):
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out')]
    with pytest.raises(SystemExit):
        main(['occo_fmb', 'random', *folders, '--cfg-options', 'model.network'])
    assert "--cfg-options: 'model.network'; expected KEY=VALUE" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['occo_fmb', 'random', *folders, '--cfg-options', 'model.network.channels=(4,'])
    assert 'channels=(4,: imbalanced brackets exist in (4,; correct the value' in capsys.readouterr().err


def test_a_config_of_another_type(pairs, tmp_path, capsys):
    (tmp_path / 'a.txt').write_text('x')
    folders = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--out', str(pairs / 'out')]
    assert main([str(tmp_path / 'a.txt'), 'random', *folders]) == 1
    assert 'a.txt: no config; expected a file that ends in one of .py' in capsys.readouterr().err


def test_subfolders_and_patterns(fuse, pairs, capsys):
    """Names differ, and lie in subfolders: outputs keep both; a second run finds them."""
    for kind, word in (('vi', 'VIS'), ('ir', 'IR')):
        for file in sorted((pairs / kind).iterdir()):
            target = pairs / kind / 'night' / f'{file.stem}_{word}{file.suffix}'
            target.parent.mkdir(exist_ok=True)
            file.rename(target)
    assert fuse() == 1
    assert "--vi-pattern '{name}_VIS' --ir-pattern '{name}_IR' would pair 3 of them" in capsys.readouterr().err
    patterns = ['--vi-pattern', '{name}_VIS', '--ir-pattern', '{name}_IR']
    for text in ('3 images fused, 0 skipped', '0 images fused, 3 skipped'):
        assert fuse(*patterns) == 0
        assert text in capsys.readouterr().out
    assert sorted(file.name for file in (pairs / 'out' / 'night').iterdir()) == ['a.png', 'b.png', 'c.png']
    assert fuse(*patterns, '--tile', '16', '16') == 1  # images in subfolders are not mixed with others either
    assert '3 files are there' in capsys.readouterr().err


def test_ranges_of_infrared_values(fuse, pairs, capsys):
    """One range for a sequence is found once, recorded, and the same as if it were given."""
    for k, name in enumerate('abc'):
        shape = read_visible(pairs / 'vi' / f'{name}.png').shape[:2]
        (pairs / 'ir' / f'{name}.bmp').unlink()
        np.save(pairs / 'ir' / f'{name}.npy', np.linspace(280 + 10 * k, 290 + 10 * k, np.prod(shape)).reshape(shape))
    assert fuse() == 1
    assert 'floating-point values from 280 to 290' in capsys.readouterr().err
    assert fuse('--ir-range', '0%', '100%', '--per-sequence') == 0
    first = read_visible(pairs / 'out' / 'a.png')
    settings = json.loads((pairs / 'out' / 'fuse.json').read_text())['settings']
    assert settings['ir_range'] == [280, 310]
    assert fuse('--ir-range', '280', '310') == 0
    assert '3 skipped' in capsys.readouterr().out
    assert fuse('--ir-range', '280', '290') == 1
    assert 'ir_range was [280.0, 310.0], is now [280.0, 290.0]' in capsys.readouterr().err
    assert fuse('--ir-range', '280', '290', '--overwrite') == 0
    assert np.abs(read_visible(pairs / 'out' / 'a.png').astype(int) - first).max() > 0
