"""MGFusion's configs hold what sections 3 and 4 of the paper state."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mmfusion.registry import DATASETS, PARAM_SCHEDULERS
from mmfusion.utils import write_image

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    'RoadScene': ('crop_LR_visible', 'cropinfrared', '.jpg'),
    'LLVIP': ('visible/train', 'infrared/train', '.jpg'),
    'MSRS': ('train/vi', 'train/ir', '.png'),
    'M3FD': ('M3FD_Detection/Vis', 'M3FD_Detection/Ir', '.png'),
}
PAIRS = {'RoadScene': 200, 'LLVIP': 201, 'MSRS': 217, 'M3FD': 230}  # section 4.1


def load(name):
    return Config.fromfile(ROOT / 'configs/mgfusion' / name)


def names_of(part, kind):
    return (ROOT / f'configs/_base_/datasets/splits/{part}_{kind}.txt').read_text().split()


def test_optimizer_batch_and_epochs_of_section_4_2():
    """Adam, batch 16, 100 epochs."""
    cfg = load('mgfusion_unified.py')
    assert cfg.optim_wrapper.optimizer.type == 'Adam'
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.train_cfg.max_epochs == 100
    # Section 4.1's pairs fill its batches without a rest.
    assert sum(PAIRS.values()) == 848 == 53 * 16


def test_learning_rate_of_section_4_2():
    """From 1e-4 to 1e-3 over the first 20 epochs, then down to 1e-4 in the last."""
    cfg = load('mgfusion_unified.py')
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-4)
    assert rates[19] == rates[20] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    assert (np.diff(rates[:20]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()


def test_losses_of_sections_3_3_and_4_2():
    """ℓ_f = ℓ_g + λ ℓ_i with λ = 0.2, ℓ_g on gradient magnitudes."""
    losses = load('mgfusion_unified.py').model.losses
    gradient, intensity = losses.texture, losses.intensity
    assert gradient == dict(type='mmfusion.TextureLoss', separate=False, loss_weight=1.0)
    assert intensity == dict(type='mmfusion.MaxIntensityLoss', loss_weight=0.2)


def test_clip_of_section_3_2_is_openai_s_with_their_activation(monkeypatch):
    """ "The pre-trained weights provided by the authors of CLIP", used for its image embedding alone."""
    monkeypatch.delenv('MMFUSION_CLIP', raising=False)
    cfg = load('mgfusion_unified.py')
    assert cfg.model.priors.prior.pretrained == 'openai'
    assert cfg.model.priors.prior.model.endswith('-quickgelu')
    assert cfg.model.priors.prior.embedding
    assert len(cfg.model.priors.prior.layers) == 0
    monkeypatch.setenv('MMFUSION_CLIP', '/a/file.pt')
    assert load('mgfusion_unified.py').model.priors.prior.pretrained == '/a/file.pt'


def test_embed_dim_is_that_of_the_clip_model():
    import open_clip

    model = load('mgfusion_unified.py').model
    assert (
        open_clip.get_model_config(model.priors.prior.model)['embed_dim']
        == model.network.cii.embed_dim
        == model.network.cff.embed_dim
    )


def test_augmentation_of_section_4_1():
    """Random flip, random rotation, random crop of 256×256."""
    cfg = load('mgfusion_unified.py')
    for dataset in cfg.train_dataloader.dataset.datasets:
        types = {t.type: t for t in dataset.pipeline}
        assert types['mmseg.RandomFlip'].prob > 0
        assert types['mmseg.RandomRotFlip'].flip_prob > 0
        assert types['mmseg.RandomCrop'].crop_size == (256, 256)


def test_metrics_of_section_4_3():
    assert load('mgfusion_unified.py').test_evaluator.metric == ['Qabf', 'Qcv', 'SSIM', 'AG', 'VIF', 'SCD']


@pytest.mark.parametrize(
    ('name', 'switch'), [('mgfusion_wo-cii.py', dict(cii=None)), ('mgfusion_wo-cff.py', dict(cff=None))]
)
def test_ablations_of_section_4_5(name, switch):
    """On MSRS, and nothing else differs."""
    full, cfg = load('mgfusion_msrs.py'), load(f'ablations/{name}')
    assert cfg.train_dataloader.dataset.type == 'mmfusion.MSRSDataset'
    full.model.network.update(switch)
    assert cfg.to_dict() == full.to_dict()


@pytest.mark.parametrize('method', ['mgfusion', 'gffusion'])
def test_every_shipped_config_is_told(method):
    """And the ablations are short: what differs, and why."""
    page = (ROOT / f'docs/methods/{method}.md').read_text(encoding='utf-8')
    files = sorted((ROOT / 'configs' / method).rglob('*.py'))
    assert [f.name for f in files if f.name not in page] == []
    assert max(len(f.read_text().splitlines()) for f in files if f.parent.name == 'ablations') < 15


def test_demo_says_that_its_clip_is_random():
    """In its name and its first line."""
    for file in (ROOT / 'configs').glob('[mg]*fusion/*random*.py'):
        assert 'RANDOM' in file.read_text().splitlines()[0]
        model = Config.fromfile(file).model
        assert model.get('fuser', model).priors.prior.pretrained == 'random'
    named = [f for f in (ROOT / 'configs').glob('[mg]*fusion/**/*.py') if "pretrained='random'" in f.read_text()]
    assert [f.name for f in named if 'random' not in f.name] == []


# The unified dataset


def test_committed_list_has_the_paper_s_counts():
    """Section 4.1: 200 pairs of RoadScene to train with, 20 others to test."""
    train, val = names_of('unified_roadscene', 'train'), names_of('unified_roadscene', 'val')
    assert (len(set(train)), len(set(val))) == (len(train), len(val)) == (200, 20)
    assert not set(train) & set(val)
    known = {*names_of('roadscene', 'train'), *names_of('roadscene', 'val')}
    assert {*train, *val} <= known


@pytest.mark.data
def test_committed_list_is_that_of_the_tool(tmp_path, data_dir, load_tool):
    images = str(data_dir / 'RoadScene/cropinfrared')
    load_tool('tools/dataset_converters/make_split.py').main(
        ['unified_roadscene', '--images', images, '--num', '200', '20', '--out', str(tmp_path)]
    )
    for part in ('train', 'val'):
        assert (tmp_path / f'unified_roadscene_{part}.txt').read_text().split() == names_of('unified_roadscene', part)


@pytest.fixture
def unified(tmp_path, monkeypatch):
    """The config, on a folder with few and small images but under all names that its lists want."""
    rng = np.random.default_rng(0)
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path))
    for name, (vi, ir, suffix) in FOLDERS.items():
        names = [f'{k:05d}' for k in range(4)]
        if name == 'RoadScene':
            names = [*names_of('unified_roadscene', 'train'), *names_of('unified_roadscene', 'val')]
        else:
            (tmp_path / name).mkdir()
            (tmp_path / name / 'unified_train.txt').write_text('00000\n00002\n00003\n')
            (tmp_path / name / 'unified_val.txt').write_text('00001\n')
        for stem in names:
            shape = (200, 270) if name == 'RoadScene' else (260, 300)
            write_image(tmp_path / name / vi / f'{stem}{suffix}', rng.integers(0, 256, (*shape, 3), np.uint8))
            write_image(tmp_path / name / ir / f'{stem}{suffix}', rng.integers(0, 256, shape, np.uint8))
    return load('mgfusion_unified.py')


def test_unified_dataset_joins_four(unified):
    """Lists apart, patches of one size that stay registered, the source said by the file's path."""
    train = DATASETS.build(unified.train_dataloader.dataset)
    val = DATASETS.build(unified.val_dataloader.dataset)
    assert [len(d) for d in train.datasets] == [200, 3, 3, 3]
    assert [len(d) for d in val.datasets] == [20, 1, 1, 1]
    paths = [{d.get_data_info(i)['img_path'] for d in s.datasets for i in range(len(d))} for s in (train, val)]
    assert not paths[0] & paths[1]
    batch = pseudo_collate([train[i] for i in (0, 1, 200, 203, 208)])
    assert {tuple(x.shape) for x in batch['inputs']} == {(4, 256, 256)}
    assert [next(n for n in FOLDERS if n in s.img_path) for s in batch['data_samples']] == [
        'RoadScene',
        'RoadScene',
        *list(FOLDERS)[1:],
    ]
    # by which FusionMetric gives each its own result
    assert [s.dataset for s in batch['data_samples']] == ['RoadScene', *FOLDERS]
    assert tuple(val[0]['inputs'].shape) == (4, 200, 270)


def test_unified_dataloader_of_the_runner(unified):
    """As the Runner builds it, in batches of 16 and with the last incomplete one."""
    loader = Runner.build_dataloader(dict(unified.train_dataloader, num_workers=0, persistent_workers=False), seed=0)
    assert len(loader) == 14  # 209 pairs
    assert len(next(iter(loader))['inputs']) == 16


def test_pairs_stay_registered_through_the_pipeline(unified, tmp_path):
    """Flip, extension, crop and quarter turns move both images alike."""
    vi, ir, suffix = FOLDERS['MSRS']
    grey = np.random.default_rng(1).integers(0, 256, (200, 300), np.uint8)
    write_image(tmp_path / 'MSRS' / vi / f'00000{suffix}', np.repeat(grey[..., None], 3, axis=2))
    write_image(tmp_path / 'MSRS' / ir / f'00000{suffix}', 255 - grey)  # a copy would be refused
    dataset = DATASETS.build(unified.train_dataloader.dataset.datasets[2])
    patches = [dataset[0]['inputs'] for _ in range(12)]
    assert all((255 - p[3]).equal(p[0]) and p[0].equal(p[2]) for p in patches)
    assert len({p.numpy().tobytes() for p in patches}) > 6
