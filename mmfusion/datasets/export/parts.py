"""Datasets for tools, by class and folder or from a config."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from mmengine.registry import DefaultScope

from mmfusion.datasets import FusionDataset, LayoutDataset, MFNetDataset, RenderSyntheticPair, SyntheticDataset
from mmfusion.datasets.boxes import BoxSource
from mmfusion.datasets.transforms import LoadImagePair, LoadMFNetPair
from mmfusion.registry import DATASETS, TRANSFORMS, is_a
from mmfusion.utils import given_reading, list_images
from mmfusion.utils.configs import Overrides, innermost, read_config

TASKS = ('seg', 'det')
_ANNOTATIONS = dict(seg=('seg_map_path', 'label map'), det=('ann_path', 'box annotation'))
# A dataset for workers is packed into bytes, with a walk through all of the process's objects.
_READ_ONCE = dict(pipeline=[], test_mode=True, lazy_init=False, serialize_data=False)


@dataclass
class DatasetPart:
    """One part of a dataset, such as its training set.

    Attributes:
        dataset (FusionDataset): With the annotations of its task, and without pipeline.
        load (callable): The transform that gives a sample its ``img``, H×W×4 uint8 (B, G, R, IR).
        settings (dict): What it was built of, but for folders.
    """

    dataset: FusionDataset
    load: object
    settings: dict


def add_dataset_arguments(parser: ArgumentParser) -> None:
    """Add the arguments by which a tool takes a dataset; see :func:`open_parts`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--dataset', help='class of the dataset, such as MSRSDataset')
    source.add_argument('--dataset-config', help='config file: its train, val and test dataloaders name the datasets')
    parser.add_argument('--data-root', help='folder of the dataset; with --dataset')
    parser.add_argument(
        '--splits',
        nargs='+',
        metavar='PART',
        help='its official splits (default: all); with --dataset-config of train, val, test (default: train and test)',
    )
    parser.add_argument(
        '--lists',
        nargs='+',
        action=Overrides,
        metavar='PART=FILE',
        help='parts by lists of names, for datasets without official split: train=train.txt test=test.txt',
    )
    parser.add_argument(
        '--dataset-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help='further arguments of the class'
    )
    parser.add_argument('--task', choices=TASKS, help='labels or boxes; default: what the dataset has')


def open_parts(
    args: Namespace, task: str | None = None, reading: dict | None = None
) -> tuple[str, dict[str, DatasetPart]]:
    """Open the parts of a dataset that arguments name: task, name → part.

    Args:
        args: With the arguments of :func:`add_dataset_arguments`.
        task: ``'seg'`` or ``'det'``; default ``args.task``, or what the dataset has.
        reading: How images become 8 bits (:func:`mmfusion.utils.check_reading`); default as the config says.

    Raises:
        ValueError: If there is no such dataset or part, images without annotation are there, or the dataset lacks the task.
        FileNotFoundError: If a folder, list or config is missing.
    """
    configs = _from_config(args) if args.dataset_config else _from_class(args)
    wrong = [name for name in configs if not name.isidentifier()]
    if wrong:
        raise ValueError(f'part {wrong[0]!r}: the name of a part consists of letters, digits and _')
    parts = {}
    with DefaultScope.overwrite_default_scope('mmfusion'):
        task = task or args.task or _task_of(next(iter(configs.values())))
        for name, cfg in configs.items():
            parts[name] = _open(cfg, task, reading)
    return task, parts


def _from_class(args: Namespace) -> dict[str, dict]:
    """Configs of the parts of ``--dataset``."""
    cls = _class_of(args.dataset)
    common = dict(type=args.dataset, **(args.dataset_options or {}))
    if args.data_root is not None:
        common['data_root'] = args.data_root
    if args.lists:
        if args.splits:
            raise ValueError('--splits or --lists, not both: a list names its own part')
        # A name without folder would be looked for below data_root.
        return {name: dict(common, ann_file=str(Path(file).resolve())) for name, file in args.lists.items()}
    if not issubclass(cls, LayoutDataset):
        if len(args.splits or ['all']) > 1:
            raise ValueError(f'{args.dataset} has no splits: give a config by --dataset-config, or --lists')
        return {(args.splits or ['all'])[0]: common}
    splits = args.splits or list(cls.SPLITS)
    unknown = [split for split in splits if split not in cls.SPLITS]
    if unknown:
        raise ValueError(
            f'{args.dataset} has no split {unknown[0]!r}; it has {", ".join(cls.SPLITS)}. Parts of your own are given by '
            'lists of names: --lists train=FILE test=FILE'
        )
    return {split: dict(common, split=split) for split in splits}


def _from_config(args: Namespace) -> dict[str, dict]:
    """Configs of the datasets in the dataloaders of ``--dataset-config``."""
    if args.lists or args.data_root or args.dataset_options:
        raise ValueError(
            '--dataset-config says all about the dataset: leave out --data-root, --lists, --dataset-options'
        )
    if not Path(args.dataset_config).is_file():
        raise FileNotFoundError(f'{args.dataset_config}: no such config')
    cfg = read_config(args.dataset_config)
    found = {name: cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test')}
    missing = [name for name in args.splits or () if not found.get(name)]
    if missing:
        raise ValueError(f'{args.dataset_config}: no {missing[0]}_dataloader; parts are train, val, test')
    names = args.splits or [name for name in ('train', 'test') if found[name]]
    if not names:
        raise ValueError(f'{args.dataset_config}: neither a train_dataloader nor a test_dataloader')
    return {name: _unwrapped(found[name]['dataset'].to_dict(), args.dataset_config) for name in names}


def _unwrapped(cfg: dict, file: str | Path) -> dict:
    """The dataset inside of RepeatDataset, MultiImageMixDataset and the like."""
    cfg = innermost(cfg)
    if 'datasets' in cfg:
        raise ValueError(
            f'{file}: {cfg["type"]} joins several datasets, whose images may share a name. Write each by itself.'
        )
    return cfg


def _class_of(name: str) -> type[FusionDataset]:
    """Find a dataset class of mmfusion, or of a name's scope."""
    cls = DATASETS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, FusionDataset)):
        raise ValueError(f'{name}: no dataset of image pairs; mmfusion has {", ".join(_known())}')
    return cls


def _known():
    return sorted(name for name, cls in DATASETS.module_dict.items() if issubclass(cls, FusionDataset))


def _bare(cfg: dict) -> dict:
    """The dataset of a config without annotations and pipeline."""
    cls = _class_of(cfg['type'])
    cfg = {
        k: v for k, v in cfg.items() if k not in ('pipeline', 'with_masks', 'with_labels', 'with_boxes', 'filter_cfg')
    }
    cfg.update(_READ_ONCE)
    if issubclass(cls, LayoutDataset):
        cfg.update(with_masks=False, with_boxes=False)  # some have them unless told otherwise
    else:
        prefix = dict(cfg.get('data_prefix') or {})
        for key in ('mask_vi_path', 'mask_ir_path', 'seg_map_path'):
            prefix.pop(key, None)
        cfg['data_prefix'] = prefix
    return cfg


def _task_of(cfg: dict) -> str:
    """Tell what a dataset is annotated for, labels or boxes alone."""
    cls = _class_of(cfg['type'])
    if issubclass(cls, SyntheticDataset):
        return cfg.get('task', 'seg')
    folders = _folders(cfg)
    tasks = [task for task in TASKS if folders.get(_ANNOTATIONS[task][0])]
    if len(tasks) != 1:
        raise ValueError(
            f'{cls.__name__} has {" and ".join(tasks) or "no"} annotations: say which by --task seg or det'
        )
    return tasks[0]


def _folders(cfg: dict) -> dict[str, str]:
    """Folders of annotations that a dataset may have, by key."""
    cls, prefix = _class_of(cfg['type']), dict(cfg.get('data_prefix') or {})
    if not issubclass(cls, LayoutDataset):
        return prefix
    return DATASETS.build(dict(_bare(cfg), lazy_init=True)).folders() | prefix


def _open(cfg: dict, task: str, reading: dict | None) -> DatasetPart:
    """One part, with the annotations of the task."""
    cls, full = _class_of(cfg['type']), _bare(cfg)
    if issubclass(cls, SyntheticDataset):
        full['task'] = task
    else:
        _check_complete(cfg, task)
        if issubclass(cls, LayoutDataset):
            full.update(with_labels=task == 'seg', with_boxes=task == 'det')
        elif task == 'seg':
            full['data_prefix'] = dict(full['data_prefix'], seg_map_path=cfg['data_prefix']['seg_map_path'])
    dataset = DATASETS.build(full)
    if task == 'seg' and any(dataset.get_data_info(k)['label_map'] for k in range(len(dataset))):
        raise ValueError(
            f'{cls.__name__}: metainfo chooses among its classes. Label maps are handed on as they are: take all classes.'
        )
    if not dataset.metainfo['classes']:
        raise ValueError(
            f'{cls.__name__} has no classes. Give them as metainfo=dict(classes=...) in a --dataset-config.'
        )
    settings = {k: v for k, v in full.items() if k not in ('data_root', *_READ_ONCE)}
    settings['ann_file'] = Path(full.get('ann_file') or '').name
    load = _loader(cfg, cls, reading)
    return DatasetPart(dataset, TRANSFORMS.build(load), dict(settings, load=load))


def _check_complete(cfg: dict, task: str) -> None:
    """All images must be annotated; those that are not are named."""
    key, what = _ANNOTATIONS[task]
    cls, folder = _class_of(cfg['type']), _folders(cfg).get(key)
    if not folder:
        if task == 'seg' or issubclass(cls, LayoutDataset):
            raise ValueError(f'{cls.__name__} has no {what}s. Give their folder as data_prefix=dict({key}=...).')
        return  # a class of one's own may read boxes in its own way; to_coco looks for them
    folder = Path(cfg.get('data_root') or '', folder)
    stems = [info['img_id'] for info in DATASETS.build(dict(_bare(cfg), lazy_init=True)).load_data_list()]
    if task == 'seg':
        there = list_images(folder, (cfg.get('patterns') or {}).get('seg_map_path'))
    else:
        source = BoxSource(folder, getattr(cls, 'BOX_SUFFIX', '.xml'), getattr(cls, 'PATTERNS', {}).get('ann_path'))
        there = {stem for stem in stems if source.has(stem)}
    missing = [stem for stem in stems if stem not in there and cfg.get('missing_boxes') != 'empty']
    if missing:
        shown = ', '.join(missing[:20]) + (f' and {len(missing) - 20} more' if len(missing) > 20 else '')
        raise ValueError(
            f'{folder}: {len(missing)} of {len(stems)} images have no {what}: {shown}. Add them, or leave these images out '
            'by lists of names (--lists PART=FILE).'
        )


def _loader(cfg: dict, cls: type[FusionDataset], reading: dict | None) -> dict:
    """Config of the transform that gives the pair as an array."""
    given = next(iter(cfg.get('pipeline') or []), {})
    if not is_a(given, TRANSFORMS, LoadImagePair, LoadMFNetPair, RenderSyntheticPair):
        synthetic, four = issubclass(cls, SyntheticDataset), issubclass(cls, MFNetDataset)
        kind = 'RenderSyntheticPair' if synthetic else 'LoadMFNetPair' if four else 'LoadImagePair'
        given = dict(type=kind)
    kind = given['type'] if '.' in given['type'] else f'mmfusion.{given["type"]}'
    if is_a(given, TRANSFORMS, RenderSyntheticPair):
        return dict(type=kind, with_masks=False, with_bbox=False)
    if is_a(given, TRANSFORMS, LoadMFNetPair):
        return dict(type=kind)
    return dict(type=kind, **(dict(depth16='full') | given_reading(given) | (reading or {})))
