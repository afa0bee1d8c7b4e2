"""Variants, their configs, and the running of cells."""

import fcntl
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmfusion.comparison.cells import (
    RECORD,
    Cell,
    CellError,
    Variant,
    cell_config,
    last_checkpoint,
    named_metrics,
    open_folder,
    parse_variant,
    per_class_evaluators,
    run_cell,
    task_of,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def base():
    return Config.fromfile(ROOT / 'configs/cascades/occo_deeplabv3plus_synthetic.py')


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / 'fuser=1.pth'
    torch.save({}, file)
    return file


def test_variants_are_read(weights, tmp_path):
    assert parse_variant('visible') == Variant('visible', 'visible')
    assert parse_variant('OCCO-joint=joint') == Variant('OCCO-joint', 'joint')
    assert parse_variant(f'frozen:{weights}') == Variant('frozen', 'frozen', str(weights))
    assert parse_variant(f'A=joint:{weights}') == Variant('A', 'joint', str(weights))
    assert parse_variant(f'B=folder:{tmp_path}') == Variant('B', 'folder', str(tmp_path))
    assert parse_variant('method:pmgi_tno') == Variant('pmgi_tno', 'method', 'pmgi_tno')
    assert parse_variant('S=method:pmgi:random') == Variant('S', 'method', 'pmgi:random')
    assert parse_variant('C=frozen:https://x.org/a.pth').source == 'https://x.org/a.pth'


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        (
            'thermal',
            ValueError,
            "unknown variant 'thermal'.*visible.*infrared.*average.*joint.*frozen:CHECK.*folder:DIR",
        ),
        ('A=frozen:none.pth', FileNotFoundError, 'no such checkpoint: none.pth'),
        ('A=folder:none', FileNotFoundError, 'none is no folder'),
        ('A=folder', ValueError, 'expected folder:DIR'),
        ('a/b=visible', ValueError, 'name of a folder'),
        ('method:pgmi', FileNotFoundError, 'Did you mean PMGI'),
        ('visible:x', ValueError, 'takes nothing after a colon'),
    ],
)
def test_wrong_variants_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_variant(text)


@pytest.mark.parametrize('kind', ['visible', 'infrared', 'average'])
def test_sources_take_the_place_of_the_fuser_and_of_nothing_else(base, kind):
    cfg = cell_config(base, Variant(kind, kind), 3, 'cell')
    network, color = dict(type='mmfusion.SourceNetwork', source=kind), dict(type='mmfusion.RGBColor')
    assert cfg.model.fuser == dict(type='mmfusion.ImageFuser', network=network, color=color)
    assert cfg.randomness.seed == 3
    assert cfg.work_dir == 'cell/train'
    for key in (
        'train_dataloader',
        'val_dataloader',
        'test_dataloader',
        'optim_wrapper',
        'param_scheduler',
        'train_cfg',
    ):
        assert cfg[key] == base[key]
    assert cfg.model.segmentor == base.model.segmentor
    assert base.model.fuser.type == 'mmfusion.ImageFuser'
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 2


def test_joint_and_frozen(base, weights):
    joint = cell_config(base, Variant('joint', 'joint'), 0, 'cell')
    assert joint.model == base.model
    assert cell_config(base, Variant('j', 'joint', str(weights)), 0, '').model.fuser_checkpoint == str(weights)
    frozen = cell_config(base, Variant('f', 'frozen', str(weights)), 0, 'cell')
    assert frozen.model.fuser.network == base.model.fuser.network
    assert (frozen.model.fuser.losses, frozen.model.frozen) == (None, ['fuser'])
    assert frozen.model.fuser_checkpoint == str(weights)
    with pytest.raises(ValueError, match='f=frozen:CHECKPOINT'):
        cell_config(base, Variant('f', 'frozen'), 0, 'cell')


def test_parts_that_the_config_freezes_stay_frozen_where_they_exist(base, weights):
    cfg = Config(base.to_dict())
    cfg.model.frozen = ['fuser.network', 'segmentor.backbone']
    assert cell_config(cfg, Variant('v', 'visible'), 0, '').model.frozen == ['segmentor.backbone']
    frozen = cell_config(cfg, Variant('f', 'frozen', str(weights)), 0, '')
    assert frozen.model.frozen == ['fuser', 'segmentor.backbone']


def test_fused_folders(base, tmp_path):
    for part in ('train', 'test'):
        (tmp_path / part).mkdir()
        (tmp_path / part / 'a.png').touch()
    variant = Variant('f', 'folder', str(tmp_path))
    with pytest.raises(ValueError, match=r'train_dataloader: mmfusion.SyntheticDataset does not read'):
        cell_config(base, variant, 0, 'cell')
    cfg = Config(base.to_dict())
    pipeline = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]
    pairs = dict(type='mmfusion.FusionDataset', data_root='d', pipeline=pipeline)
    msrs = dict(type='mmfusion.MSRSDataset', split='train', pipeline=pipeline)
    cfg.train_dataloader.dataset = dict(_delete_=True, type='RepeatDataset', times=2, dataset=msrs)
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = pairs
    got = cell_config(cfg, variant, 0, 'cell')
    assert got.model.fuser.network.source == 'visible'
    assert got.train_dataloader.dataset.dataset.data_prefix == dict(vi_path=str(tmp_path / 'train'))
    expected = dict(ir_path='ir', vi_path=str(tmp_path / 'test'))
    assert got.val_dataloader.dataset.data_prefix == got.test_dataloader.dataset.data_prefix == expected
    one = cell_config(cfg, Variant('f', 'folder', str(tmp_path / 'train')), 0, 'cell')
    assert one.test_dataloader.dataset.data_prefix.vi_path == str(tmp_path / 'train')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no images, and no folder train'):
        cell_config(cfg, Variant('f', 'folder', str(tmp_path / 'empty')), 0, 'cell')


def test_evaluators():
    fusion = dict(type='mmfusion.FusionMetric')
    stock = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'], prefix='x')
    expected = dict(type='mmfusion.PerClassIoUMetric', iou_metrics=['mIoU'])
    assert per_class_evaluators([stock, fusion], 'segmentor') == [expected, fusion]
    coco = dict(type='mmdet.CocoMetric', ann_file='a.json', metric='bbox', iou_thrs=[0.5])
    expected = dict(type='mmfusion.PerClassCocoMetric', ann_file='a.json')
    assert per_class_evaluators(coco, 'detector') == [expected]
    with pytest.raises(ValueError, match=r'no mmdet.CocoMetric.*it has mmfusion.FusionMetric'):
        per_class_evaluators(fusion, 'detector')


def test_a_detector_gets_its_metric_imported(base):
    cfg = Config(base.to_dict())
    cfg.model.detector = cfg.model.pop('segmentor')
    cfg.test_evaluator = dict(type='mmdet.CocoMetric')
    assert task_of(cfg) == 'detector'
    imports = cell_config(cfg, Variant('joint', 'joint'), 0, 'cell').custom_imports.imports
    assert 'mmfusion.evaluation.metrics.per_class_coco' in imports
    assert imports[0] == 'mmfusion'


def test_other_configs_are_refused():
    with pytest.raises(ValueError, match=r'none of a cascade.*ImageFuser.*network'):
        task_of(Config(dict(model=dict(type='mmfusion.ImageFuser', network={}))))


def test_names_and_percent():
    values = {'mIoU': 51.5, 'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_50': 0.75, 'coco/bbox_mAP_s': -1.0}
    values |= {'coco/car_precision': 0.25, 'coco/car_precision_50': 0.5, 'coco/bus_precision': None, 'fusion/EN': 7.0}
    expected = {'mIoU': 51.5, 'mAP': 50, 'mAP50': 75, 'mAP_s': None, 'AP/car': 25, 'AP50/car': 50, 'AP/bus': None}
    assert named_metrics(values) == expected | {'fusion/EN': 7.0}


def folder_of(tmp_path, base, texts=('visible',), seeds=(0,), weights='last'):
    return open_folder(tmp_path / 'out', base, 'c.py', [parse_variant(t) for t in texts], seeds, weights)


def begin(cell):
    cell.folder.mkdir(parents=True, exist_ok=True)
    cell.file.write_text(json.dumps(dict(metrics=dict(mIoU=None, aAcc=1))))


def test_cells_come_seed_by_seed(tmp_path, base):
    cells = folder_of(tmp_path, base, ('visible', 'A=joint'), (2, 5))
    assert [str(cell) for cell in cells] == ['visible, seed 2', 'A, seed 2', 'visible, seed 5', 'A, seed 5']
    assert cells[1].folder == tmp_path / 'out/cells/A/seed_2'


def test_other_settings_are_refused_once_there_are_results(tmp_path, base, weights):
    other = Config(base.to_dict())
    other.merge_from_dict({'train_cfg.max_epochs': 99, 'train_dataloader.batch_size': 3})
    variants = ('visible', f'A=frozen:{weights}')
    folder_of(tmp_path, other, variants)
    cells = folder_of(tmp_path, base, variants)  # nothing was trained yet
    for cell in cells:
        begin(cell)
    with pytest.raises(ValueError, match=r'config.train_cfg.max_epochs was 10, is now 99'):
        folder_of(tmp_path, other, variants)
    with pytest.raises(ValueError, match="weights was 'last', is now 'best'"):
        folder_of(tmp_path, base, variants, weights='best')
    with pytest.raises(ValueError, match=r"variants.A.kind was 'frozen', is now 'joint'"):
        folder_of(tmp_path, base, ('A=joint',))
    reseeded = Config(base.to_dict())
    reseeded.randomness = dict(seed=9)
    assert len(folder_of(tmp_path, reseeded, ('visible', 'B=joint'), (0, 1))) == 4
    torch.save({'a': torch.ones(1)}, weights)
    with pytest.raises(ValueError, match=r'variants\.A\.sha256'):
        folder_of(tmp_path, base, variants)
    (tmp_path / 'out' / RECORD).unlink()
    with pytest.raises(ValueError, match=r'has cells, but no downstream.json'):
        folder_of(tmp_path, base)


@pytest.fixture
def cell(tmp_path):
    return Cell(Variant('visible', 'visible'), 0, tmp_path / 'cell')


def tools(folder, train):
    """A folder with a stand-in for tools/train.py; what it prints is in the log."""
    folder.mkdir(exist_ok=True)
    (folder / 'train.py').write_text(f'import sys, pathlib, json\ncell = pathlib.Path(sys.argv[1]).parent\n{train}\n')
    return folder


TRAIN = """
print(*sys.argv[2:])
(cell / 'train').mkdir(exist_ok=True)
(cell / 'train/epoch_1.pth').touch()
(cell / 'train/last_checkpoint').write_text('/where/it/was/epoch_1.pth')
"""
TEST = "(cell / 'metrics.json').write_text(json.dumps(dict(mIoU=50.0)))"


def test_a_failed_cell_shows_the_end_of_its_log_and_is_resumed(cell, tmp_path):
    fails = tools(tmp_path / 'tools', TRAIN + "print('what went wrong')\nsys.exit(3)")
    with pytest.raises(CellError, match=r'(?s)train.py ended with code 3.*train.log:.*\n    what went wrong'):
        run_cell(cell, Config(), fails)
    assert cell.result() is None
    assert cell.begun
    said = []
    run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN + TEST), say=said.append)
    assert said == ['visible, seed 0: training, resumed from epoch_1.pth']
    log = (cell.folder / 'train.log').read_text().splitlines()
    assert log[-1] == f'--resume {cell.folder}/train/epoch_1.pth'
    assert cell.result() == dict(mIoU=50)
    run_cell(cell, Config(), tmp_path / 'none')  # it has a result


def test_old_metrics_are_not_taken_for_new_ones(cell, tmp_path):
    cell.folder.mkdir()
    (cell.folder / 'metrics.json').write_text('{"mIoU": 1}')
    with pytest.raises(CellError, match='left no metrics'):
        run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN))
    with pytest.raises(CellError, match='no metric of the task, but aAcc'):
        run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN + TEST.replace('mIoU', 'aAcc')))


def test_the_best_checkpoint_is_tested_by_itself(cell, tmp_path):
    folder = tools(tmp_path / 'tools', TRAIN)
    with pytest.raises(CellError, match=r'expected one best_\*.pth, found none'):
        run_cell(cell, Config(), folder, 'best')
    (cell.folder / 'train/best_mIoU_epoch_7.pth').touch()
    (folder / 'test.py').write_text(f'import sys, pathlib, json\ncell = pathlib.Path(sys.argv[1]).parent\n{TEST}')
    run_cell(cell, Config(), folder, 'best')
    assert json.loads(cell.file.read_text())['checkpoint'] == 'best_mIoU_epoch_7.pth'


def test_two_processes_are_never_at_one_cell(cell, tmp_path):
    cell.folder.mkdir()
    with open(cell.folder / 'lock', 'w') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CellError, match='another process is at this cell'):
            run_cell(cell, Config(), tmp_path / 'none')


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='no /proc to see open files by')
def test_the_claim_lives_as_long_as_the_training(cell, tmp_path):
    """The training itself holds the lock, for the case that the tool is killed."""
    held = "open_files = [str(f.resolve()) for f in pathlib.Path('/proc/self/fd').iterdir()]\n"
    held += "print('held:', str((cell / 'lock').resolve()) in open_files)\n"
    run_cell(cell, Config(), tools(tmp_path / 'tools', held + TRAIN + TEST))
    assert 'held: True' in (cell.folder / 'train.log').read_text()


def test_last_checkpoint(tmp_path):
    assert last_checkpoint(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_4.pth\n')
    assert last_checkpoint(tmp_path) is None  # removed, or never complete
    (tmp_path / 'epoch_4.pth').touch()
    assert last_checkpoint(tmp_path) == tmp_path / 'epoch_4.pth'
