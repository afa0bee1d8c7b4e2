"""Every config resolves, says what it means, and builds."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmfusion.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(p for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts)
TINY_CLIP = dict(embed_dim=8, vision_cfg=dict(image_size=32, patch_size=8, width=16, head_width=8, layers=12))
TINY_DINOV2 = dict(embed_dims=16, num_layers=12, num_heads=2, feedforward_channels=16)
NARROW = {
    'mmfusion.CoCoNet': dict(channels=4, pretrained=None),
    'mmfusion.FIFN': dict(channels=(8, 12, 16, 20)),
    'mmfusion.MGFusion': dict(channels=4, num_blocks=1),
    'mmfusion.GFFusion': dict(channels=(4, 6), decoder_channels=(6, 5, 4)),
    'mmfusion.PSFusion': dict(channels=8, layers=(1, 1, 1, 1), pretrained=None),
    'mmfusion.SegMiF': dict(channels=8, growth=4, heads=2, width=8, layers=(1, 1, 1, 1), hidden=8, pretrained=None),
    'mmfusion.SeAFusion': dict(channels=(4, 5, 6), decoder_channels=(6, 5, 4)),
}


def load(name, monkeypatch):
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    return Config.fromfile(ROOT / 'configs' / name)


def make_narrow(model):
    """Turn the config of a fuser into one of the same parts that is built, and runs, in no time."""
    for loss in (model.get('losses') or {}).values():
        if loss and 'prior' in loss:
            loss.prior.update(weights='random', width=1 / 32)
    if model.get('priors'):
        model.priors.prior.update(model=TINY_CLIP, pretrained='random', size=None)
    model.network.update(NARROW.get(model.network.type, {}))


def make_dinov2_narrow(model):
    """The same for a segmenter on a frozen DINOv2; other models stay as they are."""
    segmentor = model.get('segmentor') or {}
    if segmentor and segmentor.backbone.type == 'mmfusion.FrozenBackbone':
        segmentor.backbone.backbone.arch = TINY_DINOV2
        segmentor.decode_head.update(in_channels=16, channels=16)


def contrastive(cfg):
    return cfg.model.losses.contrastive


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: str(p.relative_to(ROOT / 'configs')))
def test_config_builds_and_dumps_equal(path, monkeypatch, tmp_path):
    for variable in ('MMFUSION_VGG19', 'MMFUSION_DINOV2', 'MMFUSION_MMDRFUSE_TEACHER'):
        monkeypatch.setenv(variable, 'random')
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()
    fuser = cfg.model.get('fuser', cfg.model)
    make_narrow(fuser)
    make_dinov2_narrow(cfg.model)
    losses = fuser.get('losses') or {}
    model = MODELS.build(cfg.model)
    assert len(getattr(model, 'fuser', model).losses) == sum(1 for loss in losses.values() if loss)


@pytest.mark.parametrize(
    ('name', 'key', 'value'),
    [
        ('ablations/occo_omega1-0.8.py', 'omega', (0.8, 0.2, 0.5)),
        ('ablations/occo_omega1-0.0.py', 'omega', (0.0, 1.0, 0.5)),
        ('ablations/occo_omega6-100.py', 'loss_weight', 100.0),
        ('ablations/occo_model1_euclidean-deep.py', 'space', 'euclidean'),
        ('ablations/occo_model1_euclidean-deep.py', 'layers', None),  # ContrastiveLoss_L2: the loss's own default
        ('ablations/occo_model3_euclidean-all.py', 'space', 'euclidean'),
        (
            'ablations/occo_model3_euclidean-all.py',
            'layers',
            dict(relu1_1=1 / 16, relu2_1=1 / 16, relu3_1=1 / 8, relu4_1=1 / 4, relu5_1=1.0),
        ),
        ('occo_fmb.py', 'empty', 'keep'),
        (
            'ablations/occo_model2_contextual-all.py',
            'layers',
            dict(relu1_2=1 / 16, relu2_2=1 / 16, relu3_4=1 / 8, relu4_4=1 / 4, relu5_4=1.0),
        ),
        ('ablations/occo_model5_no-l2.py', 'omega', (0.5, 0.5, 0.0)),
        ('occo_fmb.py', 'omega', (0.5, 0.5, 0.5)),
        ('occo_fmb.py', 'groups', 4),
        ('occo_fmb.py', 'loss_weight', 10.0),
        ('occo_fmb_paper.py', 'variant', 'paper'),
    ],
)
def test_numbers_of_the_paper(name, key, value, monkeypatch):
    assert contrastive(load(f'occo/{name}', monkeypatch)).get(key) == value


def test_occo_settings_of_section_4_1_2(monkeypatch):
    cfg = load('occo/occo_fmb.py', monkeypatch)
    assert cfg.train_dataloader.batch_size == 12
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=1e-4)
    assert [loss.get('loss_weight') for loss in cfg.model.losses.values()] == [1.0, 10.0, 1.0, 10.0]
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'mmfusion.ForegroundCrop')
    assert tuple(crop.crop_size) == (256, 256)


def test_public_training_of_occo(monkeypatch):
    """occo_fmb_public.py has the steps of the public code's training, and none beside them."""
    cfg = load('occo/occo_fmb_public.py', monkeypatch)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert [t.type.split('.')[-1] for t in pipeline] == [
        'LoadImagePair',
        'LoadSaliencyMasks',
        'ForegroundCrop',
        'PackFusionInputs',
    ]
    assert (pipeline[2].draw, pipeline[2].attempts) == ('patch', 20)
    assert cfg.train_dataloader.sampler == dict(type='mmfusion.PatchSampler', repeats=2)
    assert cfg.train_dataloader.dataset.filter_cfg == dict(empty_masks=True)
    model = MODELS.build(dict(cfg.model, losses={}))
    assert model.data_preprocessor.stretch
    assert model.rounding == 'truncate'
    assert model.color.inverse == 'rounded'
    assert model.network.test_norm == 'image'
    assert not MODELS.build(dict(load('occo/occo_fmb.py', monkeypatch).model, losses={})).data_preprocessor.stretch


def test_documented_training_of_base_datasets():
    """The row "as OCCO" of docs/datasets.md has exactly the files that cut patches with salient objects, and tno.py none."""
    text = (ROOT / 'docs/datasets.md').read_text()
    rows = {
        cells[1]: cells[2]
        for cells in (r.split('|') for r in text.splitlines())
        if len(cells) == 4 and '.py`' in cells[1]
    }
    said = {name: what for names, what in rows.items() for name in re.findall(r'`(\w+\.py)`', names)}
    folder = ROOT / 'configs/_base_/datasets'
    assert set(said) == {f.name for f in folder.glob('*.py')} - {
        'occo_patches.py',
        'pairs.py',
        'patches.py',
        'train_loader.py',
    }
    for name, what in said.items():
        cfg = Config.fromfile(folder / name)
        crops = [t for t in cfg.get('train_pipeline', ()) if t.type == 'mmfusion.ForegroundCrop']
        assert ('as OCCO' in what) == any(tuple(t.crop_size) == (256, 256) for t in crops), name
        assert ('tests only' in what) == ('train_dataloader' not in cfg), name


def test_paths_come_from_the_environment(monkeypatch):
    monkeypatch.setenv('MMFUSION_DATA', '/somewhere')
    cfg = load('occo/occo_fmb.py', monkeypatch)
    assert cfg.train_dataloader.dataset.data_root == '/somewhere/FMB'
    assert contrastive(cfg).prior.weights == 'random'
    monkeypatch.delenv('MMFUSION_DATA')
    monkeypatch.delenv('MMFUSION_VGG19')
    cfg = Config.fromfile(ROOT / 'configs/occo/occo_fmb.py')
    assert cfg.train_dataloader.dataset.data_root == 'data/FMB'
    assert contrastive(cfg).prior.weights == 'imagenet'


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/occo/ablations').glob('*.py')), ids=lambda p: p.stem)
def test_ablations_are_short(path):
    assert len(path.read_text().splitlines()) < 15


def test_training_of_every_published_method_is_tested():
    """Each config with an optimizer stands in a test: as `train` of a `PublishedMethod`, or by name in one of its own."""
    tests = '\n'.join(path.read_text() for path in (ROOT / 'tests').rglob('test_*.py'))
    own = ('cascades', 'gffusion', 'mgfusion', 'occo')  # many configs of a few models
    names = [str(path.relative_to(ROOT / 'configs')) for path in CONFIGS if 'optim_wrapper' in path.read_text()]
    names = [name for name in names if not name.startswith(own)]
    assert len(names) > 30
    assert [name for name in names if f"'{name}'" not in tests and f'configs/{name}' not in tests] == []
