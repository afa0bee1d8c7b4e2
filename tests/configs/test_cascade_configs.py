"""Downstream configs with a frozen fuser: what is trained, on which classes and which images."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmfusion.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
FROZEN = sorted((ROOT / 'configs/cascades').glob('occo-frozen_*.py'))


@pytest.mark.parametrize('path', FROZEN, ids=lambda p: p.stem)
def test_frozen_fusers(path, monkeypatch):
    """The fuser comes from MMFUSION_FUSER, has no losses and needs no masks; the heads have the data's classes."""
    monkeypatch.setenv('MMFUSION_FUSER', '/somewhere/fuser.pth')
    cfg = Config.fromfile(path)
    assert cfg.model.fuser_checkpoint == '/somewhere/fuser.pth'
    assert tuple(cfg.model.frozen) == ('fuser',)
    assert cfg.model.fuser.losses is None
    task = cfg.model.get('segmentor') or cfg.model.detector
    heads = [task[name] for name in ('decode_head', 'auxiliary_head', 'bbox_head') if task.get(name)]
    assert heads
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        data = loader.dataset
        while 'dataset' in data:
            data = data.dataset
        classes = DATASETS.get(data.type).METAINFO['classes']
        assert [head.num_classes for head in heads] == [len(classes)] * len(heads)
        assert not any(t.type == 'mmfusion.LoadSaliencyMasks' for t in data.pipeline)
        assert not data.get('with_masks')
    assert not any('fuser' in key for key in cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {}))


def test_msrs_detection_has_its_own_lists(monkeypatch):
    monkeypatch.delenv('MMFUSION_DATA', raising=False)
    cfg = Config.fromfile(ROOT / 'configs/cascades/occo-frozen_yolox-s_msrs.py')
    inner = cfg.train_dataloader.dataset.dataset
    lists = [Path(data.ann_file) for data in (inner, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset)]
    assert [p.name for p in lists] == [f'msrs_detection_{part}.txt' for part in ('train', 'val', 'val')]
    train, val = (set(p.read_text().split()) for p in lists[:2])
    assert (len(train), len(val)) == (64, 16)
    assert not train & val
    assert {inner.type, cfg.val_dataloader.dataset.type} == {'mmfusion.MSRSDetectionDataset'}
    assert inner.data_root == cfg.val_dataloader.dataset.data_root == 'data/MSRS'
