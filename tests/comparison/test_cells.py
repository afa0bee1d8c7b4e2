"""Folders of cells, their settings, and the names of metrics."""

import json

import pytest
import torch
from mmengine.config import Config

from mmfusion.comparison.cells import RECORD, named_metrics, open_folder
from mmfusion.comparison.variants import parse_variant


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
