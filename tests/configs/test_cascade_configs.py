"""Downstream configs with a frozen fuser: what is trained, on which classes and which images."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmfusion.models.checkpoint import load_weights
from mmfusion.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[2]
FROZEN = sorted((ROOT / 'configs/cascades').glob('*-frozen_*.py'))


def innermost(data):
    while 'dataset' in data:
        data = data.dataset
    return data


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
        data = innermost(loader.dataset)
        classes = DATASETS.get(data.type).METAINFO['classes']
        assert [head.num_classes for head in heads] == [len(classes)] * len(heads)
        assert not any(t.type == 'mmfusion.LoadSaliencyMasks' for t in data.pipeline)
        assert not data.get('with_masks')
    assert not any('fuser' in key for key in cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {}))


@pytest.mark.parametrize('path', FROZEN, ids=lambda p: p.stem)
def test_frozen_fusers_are_those_of_the_papers_tables(path, monkeypatch):
    """Tables 3-5 of OCCO are of the one that FMB trained; Table 4 of GFFusion, on MFNet, is of GFFusion with its CLIP."""
    monkeypatch.delenv('MMFUSION_FUSER', raising=False)
    cfg = Config.fromfile(path)
    method = path.stem.partition('-')[0]
    networks = dict(occo='mmfusion.FIFN', gffusion='mmfusion.GFFusion')
    weights = dict(occo='work_dirs/occo_fmb/epoch_60.pth', gffusion='work_dirs/gffusion_joint_mfnet/epoch_100.pth')
    assert cfg.model.fuser.network.type == networks[method]
    assert cfg.model.fuser_checkpoint == weights[method]
    assert [p.type for p in cfg.model.fuser.get('priors', {}).values()] == ['mmfusion.CLIPPrior'] * (
        method == 'gffusion'
    )
    assert ('mfnet' in path.stem) == (method == 'gffusion')


def test_segmenters_of_gffusions_table_4():
    """BANet, SegFormer, SegNeXt and DINOv2-Seg; what stands in for the first says so in its name."""
    names = {p.stem for p in FROZEN if p.stem.startswith('gffusion')}
    segmenters = ('fpn-for-banet', 'segformer', 'segnext', 'dinov2')
    assert names == {f'gffusion-frozen_{segmenter}_mfnet' for segmenter in segmenters}


@pytest.mark.parametrize('name', ['m3fd', 'msrs'])
def test_detectors_start_from_the_same_weights(name):
    """COCO's, with mmdetection's rate scaled to the batch."""
    cfg = Config.fromfile(ROOT / f'configs/cascades/occo-frozen_yolox-s_{name}.py')
    assert cfg.load_from.endswith('yolox_s_8x8_300e_coco_20211121_095711-4592a793.pth')
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 / 8)
    assert cfg.param_scheduler[1].eta_min == pytest.approx(0.0005 / 8)
    counted = dict(m3fd=None, msrs=('person', 'car'))[name]
    assert cfg.val_evaluator.get('mean_over') == cfg.test_evaluator.get('mean_over') == counted


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


@pytest.mark.parametrize(
    ('name', 'weights'),
    [
        ('lite_cgnet_msrs_cpu', 'lite/lite'),
        ('lite_yolox-nano_msrs_cpu', 'lite/lite'),
        ('occo_cgnet_msrs_cpu', 'occo/occo_public-pairs'),
    ],
)
def test_shipped_weights_fit_the_fusers_of_cascades(name, weights, monkeypatch):
    """Every tensor does; masks are read where a loss of the fuser, all of which can be built, looks at them."""
    monkeypatch.setenv('MMFUSION_YOLOX', 'yolox.pth')
    cfg = Config.fromfile(ROOT / f'configs/cascades/{name}.py')
    fuser = MODELS.build(cfg.model.fuser)
    load_weights(fuser, ROOT / f'configs/{weights}.safetensors')
    data = innermost(cfg.train_dataloader.dataset)
    masks = [t.type for t in data.pipeline].count('mmfusion.LoadSaliencyMasks')
    assert masks == data.get('with_masks', False) == name.startswith('occo')
