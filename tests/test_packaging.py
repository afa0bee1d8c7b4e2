"""The wheel, used from outside the checkout: its .mim folder, inheritance from it, and stock tools with its modules."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.utils import get_installed_path
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ('configs', 'demo', 'mmfusion', 'requirements', 'tools')
LIBRARIES = {'mmseg': 'mmsegmentation', 'mmdet': 'mmdet'}


def _run(*args, cwd, **env):
    """Run a command, and give its output; an unsuccessful one fails the test with what it printed."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *map(str, args)],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f'{args}\n{done.stdout[-4000:]}'
    return done.stdout


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of what the repository releases, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp('checkout')
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, copy)
    for folder in RELEASED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns('__pycache__', '.mim', 'output'))
    return copy


@pytest.fixture(scope='module')
def wheel(checkout, tmp_path_factory):
    """The wheel, built from the source distribution and not from the checkout: so both are complete, or neither."""
    out = tmp_path_factory.mktemp('built')
    _run('setup.py', '-q', 'sdist', '--dist-dir', out, cwd=checkout)
    (archive,) = out.glob('*.tar.gz')
    with tarfile.open(archive) as tar:
        tar.extractall(out / 'sdist', filter='data')
    (source,) = (out / 'sdist').iterdir()
    _run('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, source, cwd=out)
    (file,) = out.glob('*.whl')
    return file


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
    """A folder that holds the unpacked wheel, to be the only thing on PYTHONPATH."""
    folder = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


# --------------------------------------------------------------------------------------------------------- contents


def _names(folder):
    """The files of a folder of the checkout that a release has, relative to the checkout."""
    skipped = {'__pycache__', '.mim', 'output', 'work_dirs'}
    files = (file for file in (ROOT / folder).rglob('*') if file.is_file() and file.suffix not in ('.pyc', '.pth'))
    return {str(file.relative_to(ROOT)) for file in files if not skipped & set(file.parts)}


def test_wheel_holds_the_package_and_its_mim(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert _names('mmfusion') <= names
    for folder in ('configs', 'tools', 'demo'):
        assert {f'mmfusion/.mim/{name}' for name in _names(folder)} <= names
    assert 'mmfusion/.mim/model-index.yml' in names
    assert not [name for name in names if name.startswith(('tests/', 'build/')) or '__pycache__' in name]


def test_every_package_folder_is_a_package():
    """A folder without __init__.py is left out of a wheel without a word."""
    folders = {file.parent for file in (ROOT / 'mmfusion').rglob('*.py') if '.mim' not in file.parts}
    assert [str(folder) for folder in folders if not (folder / '__init__.py').is_file()] == []


def test_metadata(site):
    (info,) = site.glob('*.dist-info')
    text = (info / 'METADATA').read_text()
    version = (ROOT / 'mmfusion' / 'version.py').read_text().split("__version__ = '")[1].split("'")[0]
    assert f'\nVersion: {version}\n' in text
    requirements = [Requirement(line[15:]) for line in text.splitlines() if line.startswith('Requires-Dist: ')]
    extras = ('draw', 'lite', 'masks', 'export', 'tests', 'thermal', 'view', 'docs')
    by_extra = {extra: set() for extra in ('', *extras, 'all')}
    for requirement in requirements:
        for extra, group in by_extra.items():
            if requirement.marker is None or requirement.marker.evaluate({'extra': extra}):
                group.add(requirement.name)
    assert {'torch', 'torchvision', 'mmengine', 'mmdet', 'mmsegmentation', 'setuptools'} <= by_extra['']
    assert 'mmcv-lite' not in by_extra['']
    assert (info / 'entry_points.txt').read_text().split() == [
        '[console_scripts]',
        'mmfusion',
        '=',
        'mmfusion.cli:main',
    ]
    assert by_extra['lite'] - by_extra[''] == {'mmcv-lite'}
    assert by_extra['draw'] - by_extra[''] == {'scikit-learn'}
    assert by_extra['export'] - by_extra[''] == {'onnx', 'onnxruntime', 'onnxscript', 'openvino'}
    assert by_extra['view'] - by_extra[''] == {'gradio'}
    assert {'pytest', 'ruff', 'segment-anything'} <= by_extra['tests'] & by_extra['all']


def test_editable_installation_links_to_the_checkout(checkout):
    # The hook that `pip install -e` calls (PEP 660); twice, as an installation may be repeated.
    for _ in range(2):
        _run('-c', 'from setuptools import build_meta; build_meta.build_editable("dist")', cwd=checkout)
    mim = checkout / 'mmfusion' / '.mim'
    assert sorted(path.name for path in mim.iterdir()) == ['configs', 'demo', 'model-index.yml', 'tools']
    for path in mim.iterdir():
        assert path.is_symlink()
        assert path.resolve() == checkout / path.name
    shutil.rmtree(mim)


def test_checkout_that_is_not_installed(checkout, tmp_path):
    """On PYTHONPATH alone: its configs are inherited by `_base_`, twice, as the links are made once."""
    (tmp_path / 'child.py').write_text("_base_ = ['mmfusion::occo/occo_fmb.py']\n")
    code = (
        'import mmfusion\n'
        'from mmengine.config import Config\n'
        'from mmfusion.compat import link_configs\n'
        'from pathlib import Path\n'
        'link_configs(Path(mmfusion.__file__).parent)\n'
        'print(mmfusion.__file__, Config.fromfile("child.py").model.network.type, sep="\\n")\n'
    )
    package, network = _run('-c', code, cwd=tmp_path, PYTHONPATH=str(checkout)).splitlines()[-2:]
    assert (package, network) == (str(checkout / 'mmfusion' / '__init__.py'), 'mmfusion.FIFN')
    shutil.rmtree(checkout / 'mmfusion' / '.mim')


def test_model_index_names_configs_that_exist():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    for file in index['Import']:
        meta = yaml.safe_load((ROOT / file).read_text())
        collections = {collection['Name'] for collection in meta['Collections']}
        for model in meta['Models']:
            assert model['In Collection'] in collections
            assert (ROOT / model['Config']).is_file(), f'{file}: {model["Config"]} does not exist'


# ------------------------------------------------------------------------------------------------- use from outside


def _without_scopes(value):
    """Drop the scope that mmengine notes in every dict that comes from an installed library."""
    if isinstance(value, dict):
        return {key: _without_scopes(item) for key, item in value.items() if key != '_scope_'}
    return [_without_scopes(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_configs_can_be_inherited_from_the_wheel(site, tmp_path):
    """By `_base_` and by mmengine's get_config, both give what the checkout's file gives; Lite fuses."""
    _write_pairs(tmp_path)
    (tmp_path / 'child.py').write_text("_base_ = ['mmfusion::occo/occo_fmb.py']\n")
    code = (
        'import mmfusion\n'
        'from mmengine.config import Config\n'
        'from mmengine.hub import get_config\n'
        'Config.fromfile("child.py").dump("by_base.py")\n'
        'config = get_config("mmfusion::occo/occo_fmb.py")\n'
        'config.dump("by_hub.py")\n'
        'from mmfusion.cli import main\n'
        'main(["models"])\n'
        'main(["fuse", "lite", "--vi", "vi", "--ir", "ir", "--out", "out"])\n'
        'print(mmfusion.__file__, config.filename, sep="\\n")\n'
    )
    *listed, package, file = _run('-c', code, cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert (tmp_path / 'out/a.png').is_file()  # by the weights that the wheel holds
    assert any(line.split()[:1] == ['u2fusion'] for line in listed)  # the console script needs no checkout
    assert package == str(site / 'mmfusion' / '__init__.py')
    assert file == str(site / 'mmfusion' / '.mim' / 'configs' / 'occo' / 'occo_fmb.py')
    ours = _without_scopes(Config.fromfile(ROOT / 'configs' / 'occo' / 'occo_fmb.py').to_dict())
    assert ours
    for name in ('by_base.py', 'by_hub.py'):
        assert _without_scopes(Config.fromfile(tmp_path / name).to_dict()) == ours


def _tool(library, name):
    return Path(get_installed_path(LIBRARIES[library])) / '.mim' / 'tools' / name


SEGMENTOR = """
_base_ = ['mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py']
custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)

norm_cfg = dict(type='BN', requires_grad=True)
preprocessor = dict(type='SegDataPreProcessor', mean=[110, 110, 110, 110], std=[60, 60, 60, 60], size=(32, 48),
                    bgr_to_rgb=False, pad_val=0, seg_pad_val=255)
model = dict(
    pretrained=None,
    data_preprocessor=dict(_delete_=True, **preprocessor),
    backbone=dict(in_channels=4, base_channels=8, stem_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=64, c1_in_channels=8, channels=8, c1_channels=4, num_classes=2, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=2, norm_cfg=norm_cfg))

dataset = dict(
    type='mmfusion.FusionDataset', data_root='pairs',
    metainfo=dict(classes=('left', 'right'), palette=[[0, 0, 0], [255, 255, 255]]),
    data_prefix=dict(vi_path='vi', ir_path='ir', seg_map_path='labels'))
load = [dict(type='mmfusion.LoadImagePair'), dict(type='LoadAnnotations')]
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'),
    dataset=dict(**dataset, pipeline=[*load, dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]))
val_dataloader = dict(
    _delete_=True, batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=[*load, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
"""

DETECTOR = """
_base_ = ['mmdet::retinanet/retinanet_r18_fpn_1x_coco.py']
custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(_delete_=True, type='DetDataPreprocessor', mean=[110], std=[60], bgr_to_rgb=False,
                           pad_size_divisor=32),
    backbone=dict(in_channels=4, base_channels=8, stem_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    bbox_head=dict(in_channels=8, feat_channels=8, stacked_convs=1, num_classes=2))

load = [dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False)]
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmfusion.SyntheticDataset', num=4, size=(96, 128), metainfo=dict(classes=('person', 'car')),
        pipeline=[*load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


def _write_pairs(folder):
    """Four pairs whose labels tell left from right."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    labels = np.repeat([[0] * 24 + [1] * 24], 32, 0).astype(np.uint8)
    for name in 'abcd':
        visible, infrared = rng.integers(0, 256, (32, 48, 3), np.uint8), labels * 200
        for part, array in (('vi', visible), ('ir', infrared), ('labels', labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / part / f'{name}.png')


@pytest.mark.slow
@pytest.mark.parametrize(('library', 'config'), [('mmseg', SEGMENTOR), ('mmdet', DETECTOR)])
def test_modules_serve_stock_configs_run_by_their_own_tools(site, tmp_path, library, config):
    """mmseg's and mmdet's own train.py, on their own configs, with mmfusion's datasets and transforms."""
    _write_pairs(tmp_path / 'pairs')
    (tmp_path / 'stock.py').write_text(config)
    log = _run(_tool(library, 'train.py'), 'stock.py', '--work-dir', 'work', cwd=tmp_path, PYTHONPATH=str(site))
    assert 'loss: ' in log
    assert str(ROOT) not in log
    checkpoint = tmp_path / 'work' / {'mmseg': 'iter_2.pth', 'mmdet': 'epoch_1.pth'}[library]
    assert checkpoint.is_file()
    if library == 'mmseg':
        assert 'mIoU' in log
        tested = _run(
            _tool(library, 'test.py'), 'stock.py', checkpoint, '--work-dir', 'work', cwd=tmp_path, PYTHONPATH=str(site)
        )
        assert 'mIoU' in tested
