"""Stock models in cascades, small enough for tests."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmfusion.datasets import SyntheticDataset
from mmfusion.datasets.transforms import adapt_pipeline
from mmfusion.registry import MODELS

FUSER = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.FIFN', channels=(4, 4, 8, 8)),
    losses=dict(ssim=dict(type='mmfusion.SSIMLoss'), texture=dict(type='mmfusion.TextureLoss', loss_weight=10.0)),
)
SIZE = (64, 64)


def small(node, classes):
    """A stock model's config for small images and ``classes`` classes, without downloads and SyncBN; changed in place."""
    if isinstance(node, dict):
        if node.get('type') == 'SegDataPreProcessor':  # pads to 512×1024
            node['size'] = SIZE
        if node.get('type') == 'BatchFixedSizePad':  # pads to 1024×1024
            node['size'] = SIZE
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for key in ('pretrained', 'checkpoint'):
            if isinstance(node.get(key), str):
                node[key] = None
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
        if 'num_classes' in node:
            node['num_classes'] = classes
        if 'class_weight' in node and isinstance(node['class_weight'], list | tuple):
            node['class_weight'] = None
        for value in node.values():
            small(value, classes)
    elif isinstance(node, list | tuple):
        for value in node:
            small(value, classes)
    return node


def cascade_config(folder, base, edits='', **options):
    """The config of a cascade around the stock model of ``base``, from a file that inherits as a user's does."""
    task = 'segmentor' if base.startswith('mmseg') else 'detector'
    kind = 'FusionSegmentor' if task == 'segmentor' else 'FusionDetector'
    file = folder / 'cascade.py'
    file.write_text(
        f'_base_ = [{base!r}]\n{task} = _base_.model\n{edits}\n'
        f"model = dict(_delete_=True, type='mmfusion.{kind}', fuser={FUSER!r}, {task}={task}, **{options!r})\n"
    )
    cfg = Config.fromfile(file)
    small(cfg.model, 6 if task == 'segmentor' else 2)
    return cfg


def whole_loader(cfg, library):
    """Build the training dataloader of a stock config inherited whole, in its own scope, over small synthetic pairs."""
    loader = cfg.train_dataloader.to_dict()
    loader['dataset'] = tiny(over_pairs(loader['dataset'], library))
    loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    with DefaultScope.overwrite_default_scope(library):
        return Runner.build_dataloader(loader, seed=0)


def over_pairs(dataset, library):
    """A stock dataset's config with its pipelines adapted, and synthetic pairs in the place of its images."""
    own = dict(scope=library, annotations=())
    if dataset['type'] in ('MultiImageMixDataset', 'RepeatDataset'):
        dataset = dict(dataset, dataset=over_pairs(dataset['dataset'], library))
        return dict(dataset, pipeline=adapt_pipeline(dataset['pipeline'], **own)) if 'pipeline' in dataset else dataset
    task = 'seg' if library == 'mmseg' else 'det'
    load = dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=task == 'seg', with_bbox=task == 'det')
    pipeline = adapt_pipeline(dataset['pipeline'], load=load, **own)
    return dict(type='mmfusion.SyntheticDataset', num=4, size=SIZE, task=task, pipeline=pipeline)


def tiny(node):
    """Sizes in a config of pipelines, made small; changed in place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ('scale', 'img_scale', 'crop_size', 'size') and isinstance(value, list | tuple):
                node[key] = [SIZE] * len(value) if isinstance(value[0], list | tuple) else SIZE
            elif key == 'border':
                node[key] = (-SIZE[0] // 2, -SIZE[1] // 2)
            else:
                tiny(value)
    elif isinstance(node, list | tuple):
        for value in node:
            tiny(value)
    return node


def batch(task, num=2, start=0, size=SIZE):
    """Synthetic pairs with labels and boxes, collated."""
    pipeline = [dict(type='mmfusion.RenderSyntheticPair', with_masks=False), dict(type='mmfusion.PackFusionInputs')]
    data = SyntheticDataset(num=num, start=start, size=size, task=task, pipeline=pipeline)
    return pseudo_collate([data[i] for i in range(num)])


@pytest.fixture
def hub():
    """``BatchSyncRandomResize`` asks the current message hub for the iteration, which a Runner keeps there."""
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 0)
    hub.update_info('epoch', 0)
    return hub


@pytest.fixture
def build():
    """Build a model from a config, the same one each time."""

    def make(cfg):
        torch.manual_seed(0)
        return MODELS.build(cfg.model)

    return make
