"""GFFusion's configs hold what sections III and IV-A and Algorithm 1 of the paper state."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmfusion.datasets import M3FDSegDataset, MSRSDataset
from mmfusion.engine.hooks import LossWeightHook
from mmfusion.engine.hooks.loss_weight import weight_at
from mmfusion.models.methods.gffusion import GFFusion
from mmfusion.registry import DATASETS, PARAM_SCHEDULERS
from mmfusion.utils import write_image

ROOT = Path(__file__).resolve().parents[2]


def load(name):
    return Config.fromfile(ROOT / 'configs/gffusion' / name)


def test_clip_layers_of_section_3_b_2():
    """Layers 1 … 11 of ViT-B/16 at 224×224: 196 tokens of 768; OpenAI's weights with their activation."""
    import open_clip

    prior = load('gffusion_funet_msrs.py').model.priors.prior
    assert tuple(prior.layers) == tuple(range(1, 12))
    vision = open_clip.get_model_config(prior.model)['vision_cfg']
    assert (vision['image_size'] // vision['patch_size']) ** 2 == 196
    assert vision['width'] == 768
    assert prior.model.endswith('-quickgelu')


def test_network_fits_its_prior():
    model = load('gffusion_funet_msrs.py').model
    assert (model.network.injection.num_layers, model.network.injection.prior_channels) == (
        len(model.priors.prior.layers),
        768,
    )
    assert tuple(model.network.channels) == (16, 48)


def test_losses_of_eq_10():
    """(1 − SSIM) / 2 with either source, and β on magnitudes."""
    losses = load('gffusion_funet_msrs.py').model.losses
    ssim, texture = losses.ssim, losses.texture
    assert ssim == dict(type='mmfusion.SSIMLoss', loss_weight=0.5)
    assert (texture.type, texture.separate) == ('mmfusion.TextureLoss', False)


def test_optimizer_of_section_4_a_2():
    """Adam, 1e-3, 100 epochs."""
    cfg = load('gffusion_funet_msrs.py')
    assert cfg.optim_wrapper.optimizer == dict(type='Adam', lr=1e-3)
    assert cfg.train_cfg.max_epochs == 100


def test_datasets_of_section_4_a_1():
    """Trained on M3FD and MFNet (here MSRS, its aligned pairs); RoadScene and TNO are for testing only."""
    for part, test in (('msrs', 'MSRS'), ('m3fd', 'M3FD'), ('roadscene', 'RoadScene'), ('tno', 'TNO')):
        cfg = load(f'gffusion_funet_{part}.py')
        assert cfg.test_dataloader.dataset.type == f'mmfusion.{test}Dataset'
        assert cfg.train_dataloader.dataset.type in ('mmfusion.MSRSDataset', 'mmfusion.M3FDDataset')
        assert cfg.test_evaluator.metric == ['EN', 'SCD', 'VIF', 'VIFF']  # section IV-A.3
        assert not any('Mask' in t.type for t in cfg.train_dataloader.dataset.pipeline)


@pytest.mark.parametrize(
    ('row', 'options'),
    [
        ('merge-mean', dict(merge='mean')),
        ('merge-group-conv', dict(merge='group_conv', merge_groups=1)),
        ('merge-group-conv-n2', dict(merge='group_conv', merge_groups=2)),
        ('merge-weighted-sum', dict(merge='weighted_sum')),
    ],
)
def test_rows_of_table_2(row, options):
    """On M3FD, and nothing but the merging strategy differs: of fusion alone, and of the whole method."""
    base, cfg = load('gffusion_joint_m3fd.py'), load(f'ablations/gffusion_joint_{row.replace("merge", "table2")}.py')
    base.model.fuser.network.injection.update(options)
    assert cfg.to_dict() == base.to_dict()
    base, cfg = load('gffusion_funet_m3fd.py'), load(f'ablations/gffusion_funet_{row}.py')
    base.model.network.injection.update(options)
    assert cfg.to_dict() == base.to_dict()
    net = GFFusion(**{k: v for k, v in cfg.model.network.items() if k != 'type'})
    kinds = dict(mean='MeanMerge', group_conv='GroupConvMerge', weighted_sum='WeightedSumMerge')
    assert type(net.finet.merge).__name__ == kinds[options['merge']]


def test_without_finet_no_clip_is_built():
    model = load('ablations/gffusion_funet_wo-finet.py').model
    assert model.priors is None
    assert model.network.injection is None


# Algorithm 1


def hook_of(cfg, kind):
    return next(hook for hook in cfg.default_hooks.values() if hook.type == f'mmfusion.{kind}')


def trained_in(cfg, epoch):
    stages = hook_of(cfg, 'StagedTrainingHook').stages
    return set(next(s for s in stages if epoch < s.get('end', math.inf)).train)


def weights_of(cfg):
    hook = {k: v for k, v in hook_of(cfg, 'LossWeightHook').items() if k != 'type'}
    phases = LossWeightHook(**hook).phases['loss_weights.task']
    return [weight_at(phases, epoch) for epoch in range(cfg.train_cfg.max_epochs)]


def rates_of(cfg):
    """Learning rates of (fuser, head) in each epoch, by the schedules of the config on an optimizer built by it."""
    model = torch.nn.Module()
    model.fuser, model.segmentor = torch.nn.Module(), torch.nn.Module()
    model.fuser.decode_head = torch.nn.Linear(1, 1)  # mmengine matches names by substring
    model.segmentor.decode_head = torch.nn.Linear(1, 1)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedules = [PARAM_SCHEDULERS.build(dict(s, optimizer=wrapper)) for s in cfg.param_scheduler]
    of = {id(p): name for name, p in model.named_parameters()}
    out = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates = {of[id(p)]: group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
        out.append((rates['fuser.decode_head.weight'], rates['segmentor.decode_head.weight']))
        assert (rates['fuser.decode_head.bias'], rates['segmentor.decode_head.bias']) == out[-1]
        wrapper.step()
        for schedule in schedules:
            schedule.step()
    return out


FUSER, HEAD = 'fuser', 'segmentor.decode_head'


@pytest.mark.parametrize(
    ('name', 'q', 'epochs', 'before'),
    [
        ('gffusion_joint_msrs.py', 50, 100, 0),
        ('gffusion_joint_mfnet.py', 50, 100, 0),
        ('gffusion_joint_m3fd.py', 50, 100, 0),
        ('gffusion_joint_msrs_150e.py', 100, 150, 0),
        ('gffusion_joint_msrs_head-warmup.py', 50, 100, 15),
        ('gffusion_joint_msrs_cpu.py', 6, 12, 0),
        ('ablations/gffusion_joint_table1-cascading.py', 50, 100, 0),
        ('ablations/gffusion_joint_table1-hybrid.py', 50, 100, 0),
    ],
)
def test_algorithm_1(name, q, epochs, before):
    """Who is trained, λ of eq. 12, and the learning rates of section IV-A.2, in each epoch; computed directly."""
    cfg = load(name)
    weights, rates = weights_of(cfg), rates_of(cfg)
    assert len(weights) == before + epochs
    for epoch in range(epochs):
        at, joint = before + epoch, epoch >= q
        rise = (1 - math.cos(math.pi * (epoch - q) / (epochs - q))) / 2 if joint else 0.0
        assert weights[at] == pytest.approx(0.2 + (1.0 - 0.2) * rise)
        assert trained_in(cfg, at) == ({FUSER, HEAD} if joint else {FUSER})
        assert rates[at] == pytest.approx((1e-3, 1e-4 * 0.1 ** ((epoch - q) // 10 if joint else 0)))


def test_head_warm_up():
    """Before Algorithm 1: fusion alone, unguided, then the head alone on its images."""
    cfg = load('gffusion_joint_msrs_head-warmup.py')
    assert cfg.model.task_checkpoint is None
    weights = weights_of(cfg)
    assert weights[:15] == [0.0] * 5 + [1.0] * 10
    assert [trained_in(cfg, e) for e in range(15)] == [{FUSER}] * 5 + [{HEAD}] * 10


def test_random_guides_only_where_the_name_says_so():
    for file in sorted((ROOT / 'configs/gffusion').rglob('*joint*.py')):
        hooks = [h for h in Config.fromfile(file).default_hooks.values() if h and h.type == 'mmfusion.GuideHook']
        random = any(h.get('allow_random_guide') for h in hooks)
        assert random == ('random' in file.name)
        assert hooks or 'parallel' in file.name


def test_segmenter_of_section_3_b_5(monkeypatch):
    """DINOv2 ViT-B, a linear map of its last patch tokens, cross-entropy; the real one's patches are of 14."""
    monkeypatch.delenv('MMFUSION_DINOV2', raising=False)
    cfg = load('gffusion_joint_msrs.py')
    segmentor = cfg.model.segmentor
    assert segmentor.backbone.weights == 'dinov2'
    assert (segmentor.backbone.backbone.arch, segmentor.backbone.backbone.patch_size) == ('base', 14)
    head = segmentor.decode_head
    assert (head.num_convs, head.in_channels, head.num_classes) == (0, 768, 9)
    assert head.loss_decode.type == 'mmseg.CrossEntropyLoss'
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'mmseg.RandomCrop')
    assert [side % 14 for side in crop.crop_size] == [0, 0]
    assert cfg.val_evaluator[1].metric == ['EN', 'SCD', 'VIF', 'VIFF']


def test_fusion_is_that_of_the_configs_without_segmenter():
    assert load('gffusion_joint_msrs.py').model.fuser.to_dict() == load('gffusion_funet_msrs.py').model.to_dict()


def test_head_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv('MMFUSION_SEG_HEAD', '/a/head.pth')
    assert load('gffusion_joint_mfnet.py').model.task_checkpoint == '/a/head.pth'


def test_rows_of_table_1():
    """On M3FD. Cascading: no FINet. Parallel: λ = 0, and the segmenter learns nothing. Hybrid: the method. No more."""
    row = {kind: load(f'ablations/gffusion_joint_table1-{kind}.py').to_dict() for kind in ('cascading', 'parallel')}
    base = load('gffusion_joint_m3fd.py')
    assert load('ablations/gffusion_joint_table1-hybrid.py').to_dict() == base.to_dict()
    cascading, parallel = base.to_dict(), base.to_dict()
    cascading['model']['fuser'].update(priors=None)
    cascading['model']['fuser']['network'].update(injection=None)
    assert row['cascading'] == cascading
    parallel['model'].update(task_weight=0.0, frozen=('segmentor',))
    parallel['default_hooks'].update(stages=None, task_weight=None, guide=None)
    parallel['param_scheduler'] = []
    assert row['parallel'] == parallel


def write_pair(folder, label, shape=(350, 400)):
    """A pair of MSRS whose labels are all ``label``."""
    rng = np.random.default_rng(0)
    for part in ('train', 'test'):
        write_image(folder / f'MSRS/{part}/vi/00001D.png', rng.integers(0, 256, (*shape, 3), np.uint8))
        write_image(folder / f'MSRS/{part}/ir/00001D.png', rng.integers(0, 256, shape, np.uint8))
        write_image(folder / f'MSRS/{part}/Segmentation_labels/00001D.png', np.full(shape, label, np.uint8))


def test_labels_beyond_the_classes_are_refused(tmp_path, monkeypatch):
    """In training and in validation; the last class passes, cropped as its image."""
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path))
    write_pair(tmp_path, 8)
    cfg = load('gffusion_joint_msrs.py')
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert tuple(sample['inputs'].shape) == (4, 336, 336)
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [8]
    write_pair(tmp_path, 9)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        with pytest.raises(ValueError, match='label 9 is outside the classes; the dataset has labels 0 to 8'):
            DATASETS.build(loader.dataset)[0]


def test_mfnet_reads_four_channel_files_by_the_official_lists():
    cfg = load('gffusion_joint_mfnet.py')
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val'), (cfg.test_dataloader, 'test')):
        assert (loader.dataset.type, loader.dataset.split) == ('mmfusion.MFNetDataset', split)
        assert [t.type for t in loader.dataset.pipeline][:2] == ['mmfusion.LoadMFNetPair', 'mmfusion.LoadSegLabels']
        assert loader.dataset.with_labels


def test_m3fd_learns_from_label_maps_of_its_boxes():
    """Section IV-A.1: background and M3FD's six classes. The fusion part, which has no boxes, tests fusion alone."""
    cfg, msrs = load('gffusion_joint_m3fd.py'), load('gffusion_joint_msrs.py')
    assert cfg.model.segmentor.decode_head.pop('num_classes') == len(M3FDSegDataset.METAINFO['classes']) == 7
    msrs.model.segmentor.decode_head.pop('num_classes')
    assert cfg.model.to_dict() == msrs.model.to_dict()
    assert cfg.train_dataloader.dataset.pipeline == msrs.train_dataloader.dataset.pipeline
    assert cfg.val_evaluator == msrs.val_evaluator
    for part, listed in (('train', 3120), ('val', 780)):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert (dataset.type, dataset.with_labels) == ('mmfusion.M3FDSegDataset', True)
        assert len(Path(dataset.ann_file).read_text().split()) == listed
    assert cfg.test_dataloader.dataset.split == 'fusion'
    assert cfg.test_evaluator == msrs.val_evaluator[1]


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (MSRSDataset, 'car=car person=person bicycle=bike'),
        (M3FDSegDataset, 'person=People car=Car bus=Bus streetlight=Lamp minibike=Motorcycle truck=Truck'),
    ],
)
def test_maps_of_ade20k_s_classes(dataset, expected):
    """The commands of docs/methods/gffusion.md name the classes that they mean."""
    from mmseg.datasets import ADE20KDataset

    classes, old = dataset.METAINFO['classes'], ADE20KDataset.METAINFO['classes']
    page = (ROOT / 'docs/methods/gffusion.md').read_text(encoding='utf-8')
    (pairs,) = re.findall(rf'--num-classes {len(classes)} --map ([\d= ]+) --rest 0', page)
    pairs = [pair.split('=') for pair in pairs.split()]
    assert ' '.join(f'{old[int(k)]}={classes[int(new)]}' for k, new in pairs) == expected
