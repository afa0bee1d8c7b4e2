"""``mmfusion draw``: pictures by column, and their panel."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mmfusion import cli
from mmfusion.cli.draw import parse_prior
from mmfusion.utils import read_visible, write_image

TINY = "prior = dict(type='mmfusion.VGGPrior', weights='random', width=1 / 32, layers=('relu2_2',))"


@pytest.fixture
def folders(tmp_path):
    """vi, ir, two folders of masks and labels of two pairs."""
    rng = np.random.default_rng(0)
    for name in ('a', 'b'):
        write_image(tmp_path / 'vi' / f'{name}.png', rng.integers(0, 256, (30, 40, 3), np.uint8))
        write_image(tmp_path / 'ir' / f'{name}.png', rng.integers(0, 256, (30, 40), np.uint8))
        write_image(tmp_path / 'labels' / f'{name}.png', rng.integers(0, 3, (30, 40), np.uint8))
        for prompt in ('p', 'q'):
            for m in ('vi', 'ir'):
                mask = np.zeros((30, 40), np.uint8)
                mask[5:20, 5:20] = 255
                write_image(tmp_path / prompt / f'mask_{m}' / f'mask_{name}.png', mask)
    return tmp_path


def test_masks(folders, capsys):
    args = [
        'draw',
        'masks',
        '--vi',
        f'{folders}/vi',
        '--ir',
        f'{folders}/ir',
        '--out',
        f'{folders}/out',
        '--width',
        '40',
    ]
    assert (
        cli.main(
            [
                *args,
                '--masks',
                f'one={folders}/p',
                f'two={folders}/q/mask_vi,{folders}/q/mask_ir',
                '--labels',
                f'{folders}/labels',
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == f'{folders}/out/panel.png'
    columns = [f'{what}_{t}' for t in ('one', 'two') for what in ('Visible', 'Infrared', 'Regions')]
    assert sorted(p.name for p in (folders / 'out').iterdir()) == sorted([*columns, 'Labels', 'panel.png'])
    for column in columns:
        assert (read_visible(folders / 'out' / column / 'b.png')[12, 12] != [0, 0, 0]).any()
    assert read_visible(folders / 'out/panel.png').shape[1] == 7 * 44
    (folders / 'q/mask_ir/mask_b.png').unlink()
    assert cli.main([*args, '--masks', f'{folders}/q', '--names', 'b']) == 1
    assert 'mask_b.png: no such file; expected a mask' in capsys.readouterr().err


def test_features(folders, capsys):
    (folders / 'other.py').write_text(TINY)
    images = ['--images', f'Visible={folders}/vi', f'Infrared={folders}/ir']
    args = [
        'draw',
        'features',
        *images,
        '--prior',
        f'T={folders}/other.py',
        '--out',
        f'{folders}/out',
        '--device',
        'cpu',
    ]
    assert cli.main(args) == 1  # a config file is for priors with tokens
    assert 'gives no patch tokens here' in capsys.readouterr().err
    for wrong, message in (
        (['--prior', 'vgg20'], 'expected KIND'),
        (['--names', 'c'], 'lacks c'),
        (['--opacity', '2'], '--opacity 2.0: expected a number in [0, 1]'),
        (['--images', 'Visible'], 'expected NAME=DIR'),
    ):
        assert cli.main([*args, *wrong]) == 1
        assert message in capsys.readouterr().err


def test_features_of_a_random_vgg(folders, monkeypatch):
    import mmfusion.cli.draw as verb

    tiny = dict(type='mmfusion.VGGPrior', weights='random', width=1 / 8, layers=('relu1_2',))
    monkeypatch.setattr(verb, 'parse_prior', lambda text: ('VGG', tiny))
    args = ['draw', 'features', '--images', f'A={folders}/vi', f'B={folders}/ir', '--names', 'b', '--device', 'cpu']
    assert cli.main([*args, '--out', f'{folders}/out', '--how', 'pca']) == 0
    assert {p.name for p in (folders / 'out').iterdir()} == {'A', 'B', 'A_VGG', 'B_VGG', 'panel.png'}
    assert read_visible(folders / 'out/A_VGG/b.png').std() > 10


def test_what_tsne_needs_is_said_first(folders, monkeypatch, capsys):
    """In one sentence, before a prior's weights are fetched; and the extra that it names is one."""
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', None)
    monkeypatch.setattr('mmfusion.masks.draw.build_extractor', lambda *args: pytest.fail('too late'))
    args = ['draw', 'features', '--images', f'A={folders}/vi', '--how', 'tsne', '--out', f'{folders}/out']
    assert cli.main(args) == 1
    err = capsys.readouterr().err
    assert err.startswith('error: --how tsne: scikit-learn cannot be imported (')
    assert err.endswith("); pip install 'mmfusion[draw]', or draw by pca.\n")
    assert not (folders / 'out').exists()
    requirements = Path(__file__).resolve().parents[2] / 'requirements'
    assert 'scikit-learn' in (requirements / 'draw.txt').read_text()


def test_priors():
    assert parse_prior('vgg19') == (
        'VGG19 relu5_4',
        dict(type='mmfusion.VGGPrior', arch='vgg19', layers=('relu5_4',), weights='imagenet'),
    )
    assert parse_prior('clip:7=random')[1] == dict(type='mmfusion.CLIPPrior', layers=(7,), pretrained='random')
    assert parse_prior('dinov2')[1]['layers'] == (12,)
    assert parse_prior('A=b.py') == ('A', 'b.py')
    for text in ('clip:x', 'vgg19=', 'dinov2:', '=b.py'):
        with pytest.raises(ValueError, match='--prior'):
            parse_prior(text)
