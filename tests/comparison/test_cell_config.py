"""Configs of cells: what stands in the place of the fuser, and the evaluators."""

import pytest
from mmengine.config import Config

from mmfusion.apis.inferencer import reading_of
from mmfusion.comparison.cell_config import _set_visible, cell_config, per_class_evaluators, task_of
from mmfusion.comparison.variants import Variant
from mmfusion.datasets.transforms import LoadImagePair
from mmfusion.registry import METRICS, TRANSFORMS


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


def test_a_users_metric_counts_as_the_class_it_inherits():
    """It stays as it is: what it gives for single classes is its own matter."""
    from mmseg.evaluation import IoUMetric

    @METRICS.register_module(force=True)
    class OwnIoUMetricOfATest(IoUMetric):
        pass

    own = dict(type='mmfusion.OwnIoUMetricOfATest', prefix='own')
    assert per_class_evaluators(own, 'segmentor') == [own]
    assert per_class_evaluators(dict(type=OwnIoUMetricOfATest), 'segmentor') == [dict(type=OwnIoUMetricOfATest)]


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


@TRANSFORMS.register_module()
class OwnLoading(LoadImagePair):
    """A user's way of loading, which counts as the class it inherits."""


def test_a_subclass_of_the_loading_counts_as_it(tmp_path):
    pipeline = [dict(type='OwnLoading', depth16='stretch'), dict(type='mmfusion.PackFusionInputs')]
    dataset = dict(type='mmfusion.FusionDataset', data_prefix=dict(vi_path='vi', ir_path='ir'), pipeline=pipeline)
    assert reading_of(Config(dict(test_dataloader=dict(dataset=dataset)))) == dict(depth16='stretch')
    loader = dict(dataset=dataset)
    _set_visible(loader, 'test', tmp_path)
    assert loader['dataset']['data_prefix'] == dict(vi_path=str(tmp_path), ir_path='ir')
    other = dict(dataset=dict(dataset, pipeline=pipeline[1:]))
    with pytest.raises(
        ValueError, match=r'test_dataloader: mmfusion.FusionDataset does not read its visible images from'
    ):
        _set_visible(other, 'test', tmp_path)
