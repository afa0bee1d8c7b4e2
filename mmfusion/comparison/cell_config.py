"""Configs of cells: a variant in the place of the fuser."""

from copy import deepcopy
from importlib import import_module
from pathlib import Path

from mmengine.config import Config

from mmfusion.registry import DATASETS, METRICS, TRANSFORMS, is_a
from mmfusion.utils import IMG_SUFFIXES
from mmfusion.utils.configs import innermost, walk

from .cells import METRICS_FILE
from .variants import SINGLES

PARTS = ('train', 'val', 'test')


def task_of(cfg):
    """Find a cascade's task model in its config: ``'segmentor'`` or ``'detector'``.

    Raises:
        ValueError: If it is no config of a cascade.
    """
    model = cfg.get('model') or {}
    if not isinstance(model, dict):
        raise ValueError(f'{cfg.filename}: model is {model!r}; expected the dict of a cascade. See docs/configs.md.')
    found = [task for task in ('segmentor', 'detector') if task in model]
    if 'fuser' not in model or len(found) != 1:
        raise ValueError(
            f'the config is none of a cascade: its model is {model.get("type")!r} with {", ".join(model) or "nothing"}. '
            'Expected mmfusion.FusionSegmentor or mmfusion.FusionDetector, with a fuser and a segmentor or detector, as '
            'in configs/cascades.'
        )
    return found[0]


def cell_config(base, variant, seed, folder, weights='last'):
    """Make the config of a cell.

    Against ``base``, a cascade's, differ: the fuser, or the folder of visible images, as the variant says; the seed; the
    work dir, below the cell's folder; and the evaluators of the test, which then give the values of single classes, and
    leave them in ``metrics.json``. At least two checkpoints are kept: mmengine removes the oldest before the newest is
    complete. With the weights ``'last'`` the test is part of the training; with ``'best'`` ``mmfusion test`` runs it.

    Raises:
        ValueError: If the config is no cascade's, has no known evaluator, or lacks what the variant needs.
    """
    task = task_of(base)
    cfg = deepcopy(base.to_dict())
    cfg['randomness'] = dict(cfg.get('randomness') or {}, seed=seed)
    cfg['work_dir'] = str(Path(folder) / 'train')
    cfg['test_evaluator'] = per_class_evaluators(cfg.get('test_evaluator'), task)
    hook = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if hook.get('max_keep_ckpts') == 1:
        hook['max_keep_ckpts'] = 2
    result = dict(
        type='mmfusion.TestResultHook', out_file=str(Path(folder) / METRICS_FILE), after_train=weights == 'last'
    )
    cfg['custom_hooks'] = [*(cfg.get('custom_hooks') or ()), result]
    if task == 'detector':
        imports = cfg.setdefault('custom_imports', dict(imports=[], allow_failed_imports=False))
        imports['imports'] = [*imports['imports'], 'mmfusion.evaluation.metrics.per_class_coco']
    model = cfg['model']
    if variant.kind in (*SINGLES, 'average'):
        _see(model, variant.kind)
    elif variant.kind == 'folder':
        _see(model, 'visible')
        for part in PARTS:
            if cfg.get(f'{part}_dataloader'):
                _read_from(cfg[f'{part}_dataloader'], part, Path(variant.source))
    elif variant.kind == 'method':
        _see(model, 'visible')
        for part in PARTS:
            if cfg.get(f'{part}_dataloader'):
                _set_visible(cfg[f'{part}_dataloader'], part, fused_folder(folder, part))
    elif variant.kind == 'frozen':
        checkpoint = variant.source or model.get('fuser_checkpoint')
        if not checkpoint:
            raise ValueError(
                f'{variant.name}: a frozen fuser needs weights. Write {variant.name}=frozen:CHECKPOINT, or give the '
                'config a fuser_checkpoint.'
            )
        model['fuser']['losses'] = None
        model.update(frozen=_with_fuser(model), fuser_checkpoint=checkpoint)
    elif variant.source:
        model['fuser_checkpoint'] = variant.source
    return Config(cfg)


def without_training(base):
    """Take training and validation out of a cascade's config, in place."""
    unused = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'val_dataloader', 'val_cfg', 'val_evaluator')
    for name in (*unused, 'param_scheduler', 'auto_scale_lr', 'load_from'):
        base[name] = None
    base.default_hooks, base.custom_hooks = {}, []  # update() would merge
    return base


def _see(model, source):
    """Put a source in the place of the fuser."""
    network = dict(type='mmfusion.SourceNetwork', source=source)
    fuser = dict(type='mmfusion.ImageFuser', network=network, color=dict(type='mmfusion.RGBColor'))
    model.update(fuser=fuser, fuser_checkpoint=None)
    # Parts of the fuser that the config freezes are no longer there.
    model['frozen'] = [part for part in model.get('frozen') or () if part.split('.')[0] != 'fuser']


def _with_fuser(model):
    return ['fuser', *(part for part in model.get('frozen') or () if part.split('.')[0] != 'fuser')]


def _read_from(loader, part, folder):
    """Read visible images from ``folder``, or its folder of the part's name."""
    if not any(f.suffix.lower() in IMG_SUFFIXES for f in folder.iterdir()):
        names = [part, 'test'] if part == 'val' else [part]
        parts = [folder / name for name in names if (folder / name).is_dir()]
        if not parts:
            raise ValueError(
                f'{folder}: holds no images, and no folder {part} of them. Expected the fused images themselves, or folders '
                'train and test (of tools/fuse_dataset.py: OUT/img_dir or OUT/images).'
            )
        folder = parts[0]
    _set_visible(loader, part, folder)


def _set_visible(loader, part, folder):
    """Let a dataloader's dataset read its visible images from ``folder``."""
    dataset = innermost(loader['dataset'])
    from mmfusion.datasets import LayoutDataset
    from mmfusion.datasets.transforms import LoadImagePair

    loads = any(isinstance(part, dict) and is_a(part, TRANSFORMS, LoadImagePair) for _, part in walk(loader))
    if 'datasets' in dataset or not loads:
        raise ValueError(
            f'{part}_dataloader: {dataset.get("type")} does not read its visible images from one folder, by '
            'mmfusion.LoadImagePair, so that they cannot be exchanged for those of folder:DIR.'
        )
    prefix = dict(dataset.get('data_prefix') or {})
    if not prefix and not issubclass(DATASETS.get(dataset['type']), LayoutDataset):
        prefix = dict(ir_path='ir')  # the default of FusionDataset, which would be replaced as a whole
    dataset['data_prefix'] = dict(prefix, vi_path=str(folder))


def fused_folder(cell_folder, part):
    """Give a ``method:`` variant's folder; validation and test share it."""
    return Path(cell_folder).absolute().parent / 'fused' / ('train' if part == 'train' else 'test')


def _is_own(evaluator, stock):
    """Tell whether an evaluator is a user's subclass of a stock metric."""
    module = import_module(f'mmfusion.evaluation.metrics.per_class_{stock.removesuffix("Metric").lower()}')
    return is_a(evaluator, METRICS, getattr(module, stock))


def per_class_evaluators(evaluators, task):
    """Make a test's evaluators of a ``task`` name single classes.

    ``mmseg.IoUMetric`` becomes :class:`PerClassIoUMetric`, ``mmdet.CocoMetric`` :class:`PerClassCocoMetric`, both without
    prefix of their own; ``MappedIoUMetric``, ``MappedCocoMetric`` and a user's subclasses stay as they are.

    Raises:
        ValueError: If there is neither of these metrics for the task.
    """
    evaluators = [evaluators] if isinstance(evaluators, dict) else list(evaluators or ())
    stock = dict(segmentor='IoUMetric', detector='CocoMetric')[task]
    types = [str(evaluator.get('type')) for evaluator in evaluators]
    known = (stock, f'PerClass{stock}', f'Mapped{stock}')
    if not any(t.rpartition('.')[2] in known for t in types) and not any(_is_own(e, stock) for e in evaluators):
        library = dict(segmentor='mmseg', detector='mmdet')[task]
        raise ValueError(
            f'test_evaluator has no {library}.{stock}, from which the tables are made; it has '
            f'{", ".join(types) or "nothing"}'
        )
    out = []
    for evaluator, name in zip(evaluators, types, strict=True):
        if name.rpartition('.')[2] in (stock, f'PerClass{stock}'):
            boxes = ('metric', 'classwise', 'iou_thrs', 'metric_items') if task == 'detector' else ()
            evaluator = {k: v for k, v in evaluator.items() if k not in ('prefix', *boxes)}
            evaluator['type'] = f'mmfusion.PerClass{stock}'
        out.append(evaluator)
    return out
