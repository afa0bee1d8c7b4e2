"""Comparing what a task model sees: variants of one cascade config, trained and tested cell by cell.

A *variant* is the config with another fuser in front of the task model; a *cell* is a variant with a seed. Each cell runs
in a process of its own, by ``mmfusion train``, and leaves a ``result.json``. See docs/cascades.md.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import re
import subprocess
import sys
import time
from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmfusion.registry import DATASETS
from mmfusion.utils import IMG_SUFFIXES, write_bytes
from mmfusion.utils.configs import find_config

from .entrants import Entrant, parse_entrant

# Columns of the table, by the part of the cascade that is the task model.
DEFAULT_METRICS = dict(segmentor=['IoU/*', 'mIoU'], detector=['AP50/*', 'mAP50', 'mAP'])
ZERO_SHOT_METRICS = dict(
    segmentor=['IoU/*', 'day/mIoU', 'night/mIoU', 'mIoU'], detector=['AP50/*', 'day/mAP50', 'night/mAP50', 'mAP50']
)
KINDS = {
    'visible': 'visible, the visible image alone',
    'infrared': 'infrared, the infrared image alone, grey',
    'average': 'average, the mean of both',
    'joint': "joint, the config as it is; joint:CHECKPOINT, with a fuser's checkpoint to start from",
    'frozen': 'frozen:CHECKPOINT, the fuser of the config, not trained',
    'folder': 'folder:DIR, images fused beforehand',
    'method': 'method:METHOD[:WEIGHTS], images of another method, which are fused first',
}
SINGLES = ('visible', 'infrared')
RECORD, METRICS_FILE = 'downstream.json', 'metrics.json'
_PARTS = ('train', 'val', 'test')
# Of a config: what says where a run is and goes on, not what is computed.
_PLACES = ('work_dir', 'resume', 'launcher', 'randomness')


class CellError(RuntimeError):
    """A cell has no result; the message says why."""


@dataclass(frozen=True)
class Variant:
    """What a task model gets to see.

    Attributes:
        name (str): In tables, and of its folder.
        kind (str): One of :data:`KINDS`.
        source (str | None): A checkpoint (absolute, or a URL), a folder (absolute), or a method with or without weights.
    """

    name: str
    kind: str
    source: str | None = None

    @property
    def record(self):
        """dict: What tells two variants of one name apart: contents, not places."""
        if self.source is None or '://' in self.source or self.kind == 'method':
            return dict(kind=self.kind, source=self.source)
        path = Path(self.source)
        if self.kind != 'folder':
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return dict(kind=self.kind, source=path.name, sha256=digest)
        files = sorted((str(f.relative_to(path)), f.stat().st_size) for f in path.rglob('*') if f.is_file())
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        return dict(kind=self.kind, source=path.name, names_and_sizes_sha256=digest)


def parse_variant(text):
    """Read ``[NAME=]KIND[:SOURCE]``, such as ``visible`` or ``OCCO=frozen:occo.pth``.

    Raises:
        ValueError: An unknown kind (those known are listed); a name that is no name of a folder; a source that is missing,
            or too many.
        FileNotFoundError: No such checkpoint or folder.
    """
    name, sep, spec = text.partition('=')
    if not sep or ':' in name:  # the '=' of a path
        name, spec = '', text
    kind, _, source = spec.partition(':')
    if kind not in KINDS:
        raise ValueError(f'unknown variant {kind!r} in {text!r}. Known are: {"; ".join(KINDS.values())}.')
    if kind == 'method':
        entrant = parse_entrant(f'{name}={source}' if name else source)  # refuses a method that is not there
        if not entrant.config:
            raise ValueError(f'{text!r}: {source} is a folder; write {name}=folder:{source}')
        name = entrant.name
    name = name or kind
    if not re.fullmatch(r'\w[\w.+-]*', name):
        raise ValueError(f'{text!r}: {name!r} is to be the name of a folder: use letters, digits and _ . + -')
    if source and kind not in ('joint', 'frozen', 'folder', 'method'):
        raise ValueError(f'{text!r}: {kind} takes nothing after a colon, got {source!r}')
    if kind == 'folder':
        if not source:
            raise ValueError(f'{text!r}: expected {KINDS[kind]}')
        if not Path(source).is_dir():
            raise FileNotFoundError(f'{text!r}: {source} is no folder. Fuse the images by mmfusion fuse first.')
    elif source and kind != 'method' and '://' not in source and not Path(source).is_file():
        raise FileNotFoundError(f'{text!r}: no such checkpoint: {source}')
    if source and kind != 'method' and '://' not in source:
        source = str(Path(source).resolve())
    return Variant(name, kind, source or None)


def task_of(cfg):
    """Which attribute of a cascade's config holds the task model: ``'segmentor'`` or ``'detector'``.

    Raises:
        ValueError: It is no config of a cascade.
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
    """The config of a cell.

    Against ``base`` differ: the fuser, or the folder of visible images, as the variant says; the seed; the work dir; and
    the evaluators of the test, which then give the values of single classes, and leave them in ``metrics.json``. At least
    two checkpoints are kept: mmengine removes the oldest before the newest is complete.

    Args:
        base (Config): Of a cascade.
        variant (Variant): The variant.
        seed (int): The seed.
        folder (str | Path): Of the cell.
        weights (str): ``'last'``: the test is part of the training; ``'best'``: it is not, ``mmfusion test`` runs it.

    Returns:
        Config: To be dumped.

    Raises:
        ValueError: The config is none of a cascade, has no evaluator that is understood, or not what the variant needs.
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
        for part in _PARTS:
            if cfg.get(f'{part}_dataloader'):
                _read_from(cfg[f'{part}_dataloader'], part, Path(variant.source))
    elif variant.kind == 'method':
        _see(model, 'visible')
        for part in _PARTS:
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
    """Let the dataset of a dataloader read its visible images from ``folder``, or from its folder of the part's name."""
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


def fused_folder(cell_folder, part):
    """Where the images of a ``method:`` variant lie: beside the folders of its seeds. Validation and test share them."""
    return Path(cell_folder).absolute().parent / 'fused' / ('train' if part == 'train' else 'test')


def innermost(dataset):
    """The config of the dataset that a RepeatDataset or MultiImageMixDataset wraps."""
    while isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']
    return dataset


def _set_visible(loader, part, folder):
    """Let the dataset of a dataloader read its visible images from ``folder``."""
    dataset = innermost(loader['dataset'])
    if 'datasets' in dataset or 'LoadImagePair' not in json.dumps(loader, default=str):
        raise ValueError(
            f'{part}_dataloader: {dataset.get("type")} does not read its visible images from one folder, by '
            'mmfusion.LoadImagePair, so that they cannot be exchanged for those of folder:DIR.'
        )
    from mmfusion.datasets import LayoutDataset

    prefix = dict(dataset.get('data_prefix') or {})
    if not prefix and not issubclass(DATASETS.get(dataset['type']), LayoutDataset):
        prefix = dict(ir_path='ir')  # the default of FusionDataset, which would be replaced as a whole
    dataset['data_prefix'] = dict(prefix, vi_path=str(folder))


def fuse_for(cell, base, say=print):
    """Fuse the images of a ``method:`` variant, for each dataloader of the config that has none yet.

    Args:
        cell (Cell): Of the variant.
        base (Config): The config that the variant is one of.
        say (Callable): Gets a line about each folder.

    Raises:
        CellError: The weights are missing, or a pair cannot be fused.
    """
    from mmfusion.apis import FusionInferencer
    from mmfusion.apis.folder import fuse_folder
    from mmfusion.utils.run_record import model_settings

    from .methods import prepare

    config, _, weights = cell.variant.source.partition(':')
    try:
        (entrant,) = prepare([Entrant(cell.variant.name, config, weights or None)])
        for part in _PARTS:
            if not base.get(f'{part}_dataloader'):
                continue
            with DefaultScope.overwrite_default_scope('mmfusion'):
                dataset = dict(innermost(base[f'{part}_dataloader']['dataset']), pipeline=[], lazy_init=False)
                dataset = DATASETS.build(dataset)
            infos = [dataset.get_data_info(i) for i in range(len(dataset))]
            pairs = [(Path(info['img_path']).stem, Path(info['img_path']), Path(info['ir_path'])) for info in infos]
            settings = model_settings(find_config(config), entrant.weights)
            folder = fused_folder(cell.folder, part)
            fused, _ = fuse_folder(pairs, folder, settings, lambda: FusionInferencer(config, entrant.weights))
            if fused:
                say(f'{cell.variant.name}: {fused} pairs fused into {folder}')
    except (ValueError, OSError, RuntimeError) as e:
        raise CellError(f'the images cannot be fused: {e}') from e


def per_class_evaluators(evaluators, task):
    """The evaluators of a test, such that results name single classes.

    ``mmseg.IoUMetric`` becomes :class:`PerClassIoUMetric`, ``mmdet.CocoMetric`` :class:`PerClassCocoMetric`, both without
    prefix of their own; ``MappedIoUMetric`` and ``MappedCocoMetric`` stay as they are.

    Args:
        evaluators (dict | Sequence[dict]): As in a config.
        task (str): ``'segmentor'`` or ``'detector'``.

    Returns:
        list[dict]: As in a config.

    Raises:
        ValueError: There is neither of these metrics for the task.
    """
    evaluators = [evaluators] if isinstance(evaluators, dict) else list(evaluators or ())
    stock = dict(segmentor='IoUMetric', detector='CocoMetric')[task]
    types = [str(evaluator.get('type')) for evaluator in evaluators]
    if not any(t.rpartition('.')[2] in (stock, f'PerClass{stock}', f'Mapped{stock}') for t in types):
        library = dict(segmentor='mmseg', detector='mmdet')[task]
        raise ValueError(
            f'test_evaluator has no {library}.{stock}, from which the tables are made; it has '
            f'{", ".join(types) or "nothing"}'
        )
    out = []
    for evaluator, name in zip(evaluators, types, strict=True):
        if name.rpartition('.')[2] in (stock, f'PerClass{stock}'):
            dropped = (
                ('prefix',) if task == 'segmentor' else ('prefix', 'metric', 'classwise', 'iou_thrs', 'metric_items')
            )
            evaluator = {k: v for k, v in evaluator.items() if k not in dropped}
            evaluator['type'] = f'mmfusion.PerClass{stock}'
        out.append(evaluator)
    return out


def named_metrics(values):
    """Results of a test by the names that tables use; detection in percent, as segmentation is.

    Args:
        values (dict[str, float | None]): Of :class:`TestResultHook`.

    Returns:
        dict[str, float | None]: ``mIoU``, ``IoU/<class>``, …; ``mAP`` (of IoU .5 to .95), ``mAP50``, ``AP/<class>``,
        ``AP50/<class>``; others as they are. None is what is not defined; so is COCO's −1 (nothing to find).
    """
    out = {}
    for key, value in values.items():
        coco, name = key.startswith('coco/'), key.removeprefix('coco/')
        if not coco:
            out[key] = value
            continue
        group, slash, name = name.rpartition('/')
        for end, family in (('_precision_50', 'AP50/'), ('_precision', 'AP/')):
            if name.endswith(end):
                name = family + name.removesuffix(end)
        name = group + slash + {'bbox_mAP_50': 'mAP50'}.get(name, name.removeprefix('bbox_'))
        out[name] = 100 * value if value is not None and value >= 0 else None
    return out


@dataclass(frozen=True)
class Cell:
    """A variant with a seed, in a folder of its own."""

    variant: Variant
    seed: int
    folder: Path

    def __str__(self):
        return f'{self.variant.name}, seed {self.seed}'

    @property
    def file(self):
        """Path of the result."""
        return self.folder / 'result.json'

    @property
    def begun(self):
        """Whether there is anything that a change of settings would make wrong."""
        return self.file.is_file() or (self.folder / 'train' / 'last_checkpoint').is_file()

    def result(self):
        """dict[str, float] | None: Metric → value; None without result."""
        if not self.file.is_file():
            return None
        try:
            metrics = dict(json.loads(self.file.read_bytes())['metrics'])
        except (ValueError, TypeError, KeyError) as e:
            raise ValueError(
                f'{self.file}: not a result of mmfusion downstream ({type(e).__name__}: {e}). Remove it, and its cell is '
                'tested again.'
            ) from e
        return {name: math.nan if value is None else value for name, value in metrics.items()}


def open_folder(out, base, config_name, variants, seeds, weights='last'):
    """The cells of a comparison; settings are recorded, and others than those recorded refused.

    Variants and seeds may be added to a folder.

    Args:
        out (str | Path): Folder of the comparison.
        base (Config): Of a cascade.
        config_name (str): For the record.
        variants (Sequence[Variant]): Rows of the table.
        seeds (Sequence[int]): Repetitions.
        weights (str): ``'last'`` or ``'best'``: which checkpoint of a training is tested.

    Returns:
        list[Cell]: Seed by seed, so that early results are of all variants.

    Raises:
        ValueError: The folder has cells of another config, or a variant of the same name that is another.
    """
    from mmfusion.utils.run_record import changes, plain, read_record, write_record

    out = Path(out)
    config = {k: v for k, v in base.to_dict().items() if k not in _PLACES}
    config['randomness'] = {k: v for k, v in (base.get('randomness') or {}).items() if k != 'seed'}
    settings = plain(dict(config=config, weights=weights, variants={v.name: v.record for v in variants}))
    cure = 'Choose another --out, or remove that folder.'
    before = read_record(out / RECORD, cure)
    if before is None and (out / 'cells').is_dir():
        raise ValueError(f'{out}: has cells, but no {RECORD} says what of. {cure}')
    begun = {folder.parent.name for folder in out.glob('cells/*/seed_*') if Cell(None, 0, folder).begun}
    if begun:
        old = dict(before['settings'])
        kept = {name: v for name, v in old['variants'].items() if name in begun}
        new = dict(settings, variants={name: settings['variants'].get(name, kept[name]) for name in kept})
        changed = changes(dict(old, variants=kept), new)
        if changed:
            raise ValueError(
                f'{out}: has results of other settings: {changed}. Their numbers must not stand in one table. {cure}'
            )
        settings['variants'] = old['variants'] | settings['variants']
    write_record(out / RECORD, settings, config_name=config_name)
    return [Cell(v, seed, out / 'cells' / v.name / f'seed_{seed}') for seed in seeds for v in variants]


def run_cell(cell, cfg, tools=None, weights='last', say=print):
    """Train and test a cell that has no result yet; goes on where it was cut off.

    Args:
        cell (Cell): The cell.
        cfg (Config): Of :func:`cell_config`.
        tools (str | Path, optional): Folder of train.py and test.py. Default: ``mmfusion train`` and ``mmfusion test``.
        weights (str): ``'last'`` or ``'best'``: which checkpoint is tested.
        say (Callable): Gets a line about each step.

    Raises:
        CellError: Training or testing failed (with the last lines of the log), gave no metrics, or another process is at
            this cell.
    """
    train, metrics = cell.folder / 'train', cell.folder / METRICS_FILE
    cell.folder.mkdir(parents=True, exist_ok=True)
    with _claimed(cell) as claim:
        if cell.file.is_file():
            return
        metrics.unlink(missing_ok=True)
        config = cell.folder / 'config.py'
        write_bytes(config, cfg.pretty_text.encode())
        checkpoint = last_checkpoint(train)
        say(f'{cell}: training' + (f', resumed from {checkpoint.name}' if checkpoint else ''))
        # Resumed at its end, a training only tests.
        resume = ['--resume', checkpoint] if checkpoint else []
        run_tool(_command('train', tools), [config, *resume], cell.folder / 'train.log', claim)
        checkpoint = last_checkpoint(train)
        if weights == 'best':
            checkpoint = _best_checkpoint(train)
            say(f'{cell}: testing {checkpoint.name}')
            arguments = [config, checkpoint, '--work-dir', cell.folder / 'test']
            run_tool(_command('test', tools), arguments, cell.folder / 'test.log', claim)
        _write_result(cell, checkpoint.name if checkpoint else None, _read_metrics(metrics))


def without_training(base):
    """The config of a cascade with all that only training and validation use taken away, in place."""
    unused = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'val_dataloader', 'val_cfg', 'val_evaluator')
    for name in (*unused, 'param_scheduler', 'auto_scale_lr', 'load_from'):
        base[name] = None
    base.default_hooks, base.custom_hooks = {}, []  # update() would merge
    return base


def evaluate_cell(cell, cfg, say=print):
    """Test a cell with the weights that its task model starts from, in this process; nothing is trained.

    Args:
        cell (Cell): The cell.
        cfg (Config): Of :func:`cell_config`, from a config :func:`without_training`.
        say (Callable): Gets a line about it.

    Raises:
        CellError: The test failed, gave no metrics, or another process is at this cell.
    """
    import torch
    from mmengine.runner import Runner

    # Weights may give numbers below 1e-38, with which a CPU is some 25 times slower (CGNet's on night images do).
    torch.set_flush_denormal(True)
    metrics = cell.folder / METRICS_FILE
    cell.folder.mkdir(parents=True, exist_ok=True)
    with _claimed(cell):
        if cell.file.is_file():
            return
        metrics.unlink(missing_ok=True)
        write_bytes(cell.folder / 'config.py', cfg.pretty_text.encode())
        say(f'{cell.variant.name}: testing')
        cfg.log_level = 'WARNING'
        cfg.experiment_name = f'{cell.variant.name}_{time.time_ns()}'  # runs of one second would share their log
        try:
            with contextlib.redirect_stdout(None):  # pycocotools prints a page for each metric
                runner = Runner.from_cfg(cfg)
                runner.model.init_weights()
                runner.test()
        except (ValueError, OSError, RuntimeError, KeyError) as e:
            raise CellError(f'the test failed: {e}') from e
        _write_result(cell, None, _read_metrics(metrics))


def _write_result(cell, checkpoint, metrics):
    result = dict(variant=cell.variant.name, seed=cell.seed, checkpoint=checkpoint, metrics=metrics)
    write_bytes(cell.file, (json.dumps(result, indent=1, ensure_ascii=False) + '\n').encode())


def _command(verb, tools):
    return ['-m', 'mmfusion', verb] if tools is None else [str(Path(tools) / f'{verb}.py')]


def run_tool(command, arguments, log, claim):
    """Run a tool with this Python, its output appended to ``log``.

    Args:
        command (Sequence[str]): The tool: what follows the name of the interpreter.
        arguments (Sequence[str | Path]): Its arguments.
        log (Path): File for what it prints.
        claim (int): Descriptor of the cell's lock, which lives as long as the process: should this one be killed, the
            cell is not begun a second time while the first still trains.

    Raises:
        CellError: It failed.
    """
    with open(log, 'ab') as file:
        done = subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=[claim],
        )
    if done.returncode:
        raise CellError(f'{" ".join(command[-2:])} ended with code {done.returncode}. The end of {log}:\n{_tail(log)}')


def _tail(log, lines=12):
    with open(log, encoding='utf-8', errors='replace') as file:
        return ''.join(f'    {line.rstrip()}\n' for line in deque((x for x in file if x.strip()), lines)).rstrip()


@contextlib.contextmanager
def _claimed(cell):
    """Hold the lock of a cell, so that several runs of the tool can share a folder."""
    with open(cell.folder / 'lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CellError('another process is at this cell. Repeat the command when that one has ended.') from None
        yield file.fileno()


def last_checkpoint(folder):
    """Path | None: The last complete checkpoint of a work dir, wherever that was when it was written."""
    note = Path(folder) / 'last_checkpoint'
    if not note.is_file():
        return None
    file = Path(folder) / Path(note.read_text().strip()).name
    return file if file.is_file() else None


def _best_checkpoint(folder):
    found = sorted(folder.glob('best_*.pth'))
    if len(found) != 1:
        raise CellError(f'{folder}: expected one best_*.pth, found {", ".join(f.name for f in found) or "none"}')
    return found[0]


def _read_metrics(file):
    """The metrics that a test left."""
    if not file.is_file():
        raise CellError(f'{file}: the test left no metrics; see the log beside it')
    metrics = named_metrics(json.loads(file.read_text(encoding='utf-8')))
    if not metrics.keys() & {'mIoU', 'mAP', 'mDice', 'mFscore'}:
        raise CellError(f'{file}: has no metric of the task, but {", ".join(metrics) or "none at all"}')
    return metrics
