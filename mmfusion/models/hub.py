"""mmfusion's own models: configs by name, and where weights are found."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from torch import nn

from mmfusion.compat.environment import plain
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError, fetch, sha256_of
from mmfusion.utils.configs import OptionError, find_config, override, published, read_config, shipped, walk
from mmfusion.utils.log import log_warning
from mmfusion.utils.memory import is_out_of_memory
from mmfusion.utils.tf_checkpoint import tf_prefix

from .checkpoint import load_weights

RANDOM = 'random'
# What classes raise that get an option of another type or value.
_OF_OPTIONS = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    AssertionError,
    IndexError,
    ArithmeticError,
    RuntimeError,
)


def load_model_config(
    model: str | Path | Config,
    cfg_options: dict | None = None,
    tile: tuple[int, int] | None = None,
    task: str | None = None,
) -> Config:
    """Load a config for fusing, without the losses that need priors' weights.

    Args:
        model: See :func:`find_config`, or a config that was loaded already; it is not changed.
        cfg_options: Overrides, such as ``{'model.test_cfg.mode': 'slide'}``.
        tile: Height and width: fuse window by window, as ``test_cfg=dict(mode='slide', crop_size=tile)`` does.
        task: ``'seg'`` or ``'det'``: keep a cascade's segmenter or detector. By default its fuser alone is the model.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If the config has no model.
    """
    if isinstance(model, Config):
        cfg = Config(model.to_dict(), filename=model.filename)
    else:
        cfg = read_config(find_config(model))
    override(cfg, cfg_options)
    if 'model' not in cfg:
        raise ValueError(f'{cfg.filename}: the config has no model; give one that can be trained, such as occo_fmb')
    if not isinstance(cfg.model, dict):
        raise ValueError(f'{cfg.filename}: model is {cfg.model!r}; expected a dict with a type. See docs/configs.md.')
    drop_losses(cfg.model)
    for key in ('fuser_checkpoint', 'task_checkpoint'):
        cfg.model.pop(key, None)
    if task is None and 'fuser' in cfg.model:
        cfg.model = cfg.model.fuser
    if tile is not None:
        if not isinstance(tile, list | tuple) or len(tile) != 2 or not all(isinstance(n, int) and n > 0 for n in tile):
            found = tuple(tile) if isinstance(tile, list) else tile
            raise ValueError(f'tile={found!r} (--tile): expected a height and a width above 0, such as (512, 512)')
        fuser = cfg.model.get('fuser', cfg.model)
        fuser.test_cfg = dict(fuser.get('test_cfg') or {}, mode='slide', crop_size=tuple(tile))
    return cfg


def drop_losses(node: Any) -> None:
    """Take what only training needs out of a model config, in place."""
    for _, part in walk(node):
        if isinstance(part, dict) and 'type' in part:
            part.update(dict.fromkeys(getattr(MODELS.get(part['type']), 'training_only', ())))


def init_model(
    cfg: str | Path | Config, weights: str | Path | Sequence[str | Path] | None = None, device: str | None = None
) -> nn.Module:
    """Build the model of a config, in eval mode, with weights.

    Building it draws nothing from the caller's random numbers.

    Args:
        cfg: A method, a config's file, or what :func:`load_model_config` gave.
        weights: Checkpoint; the authors' own file, files or folder, converted in memory; the word ``'random'`` for an
            untrained model, the same one in every process; or None for the published weights (:func:`find_weights`).
        device: By default a GPU where there is one.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or is one of another network.
        FileNotFoundError: If no weights are given, and none are found.
        ValueError: If the device is not there.
    """
    device = find_device(device)
    cfg = load_model_config(cfg) if isinstance(cfg, str | Path) else cfg
    if not isinstance(weights, str | Path | Sequence | Mapping | None):
        raise CheckpointError(f'weights={weights!r}: expected a file, an address, several of them, or None.')
    if weights is None:
        weights = find_weights(cfg)
    elif isinstance(weights, list | tuple) and len(weights) == 1:
        weights = weights[0]
    model = build_model(cfg)
    if str(weights) == RANDOM:
        log_warning('The weights are RANDOM, as asked for: the fused images mean nothing.')
    else:
        load_weights(model, weights if isinstance(weights, dict) else name_files(cfg, weights))
    return model.to(device).eval()


def build_model(cfg: Config) -> nn.Module:
    """Build a config's model without weights, the same in every process."""
    # In a pipeline the model is built in the middle of an augmentation, by each of several workers.
    with (
        torch.random.fork_rng(devices=[]),
        DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmfusion'),
    ):
        torch.default_generator.manual_seed(0)
        try:
            return MODELS.build(cfg.model)
        except _OF_OPTIONS as e:
            if isinstance(e, CheckpointError) or is_out_of_memory(e):
                raise
            text = str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e)
            found = ' '.join(text.partition(' Please check whether')[0].split()) or type(e).__name__
            raise OptionError(
                f'{cfg.filename}: the model cannot be built: {found.rstrip(".")}. Check its options; see docs/configs.md.'
            ) from e


def compile_network(model: nn.Module) -> None:
    """Put a fuser's network under torch.compile; parameters keep their names.

    It is compiled when it first runs, again at a second size of images, and then fits all sizes.

    Raises:
        RuntimeError: If a CPU's code would need a C++ compiler that is not there.
    """
    network = getattr(model, 'fuser', model).network
    if next(model.parameters(), torch.empty(0)).is_cpu:
        compiler = os.environ.get('CXX') or {'win32': 'cl', 'darwin': 'clang++'}.get(sys.platform, 'g++')
        if shutil.which(compiler) is None:
            raise RuntimeError(
                f'compile=True (--compile): on a CPU torch.compile needs a C++ compiler, and {compiler!r} is not found. '
                'Install one (on Debian: apt-get install g++), name it by the variable CXX, or leave compile out.'
            )
    network.compile()


def find_device(device: str | int | torch.device | None) -> torch.device:
    """Find a device by name: ``'cpu'``, ``'cuda:1'``, or a GPU's number.

    Raises:
        ValueError: If there is no such device.
    """
    text = str(device if device is not None else get_device())
    text = f'cuda:{text}' if text.isdigit() else text
    try:
        found = torch.device(text)
    except RuntimeError as e:
        raise ValueError(
            f"device={text!r}: no such device. Expected 'cpu', 'cuda', 'cuda:1' or the number of a GPU."
        ) from e
    if found.type not in ('cpu', get_device().split(':')[0], 'cuda'):
        raise ValueError(
            f"device={text!r}: this torch has no such device here. Expected 'cpu', 'cuda', 'cuda:1' or the number of a GPU."
        )
    count = torch.cuda.device_count()
    if found.type == 'cuda' and (found.index or 0) >= count:
        sees = f'{count} GPUs' if count else 'no GPU'
        raise ValueError(
            f"device={text!r}: this torch sees {sees}. Use device='cpu'{', or a lower number' if count else ''}."
        )
    return found


def find_weights(cfg: Config) -> dict[str, Path] | str:
    """Find the published weights of a config.

    Files are looked for in the folder ``MMFUSION_WEIGHTS`` by their SHA-256, whatever their names, then among those
    fetched before, and then fetched from the metafile's addresses.

    Returns:
        The authors' files by the stems of their published names; or the path or address of a checkpoint of ours.

    Raises:
        FileNotFoundError: If there are none; with where to get them and where to put them.
        CheckpointError: If one cannot be fetched.
    """
    name = Path(cfg.filename).stem if cfg.filename else 'this config'
    entry = published().get(name, {})
    if entry.get('Weights'):
        return shipped(entry) or entry['Weights']
    authors = entry.get('Authors Weights')
    if not authors:
        raise FileNotFoundError(f'{name}: give its weights (--weights FILE): none are published for this config.')
    found = local_files(name)
    for item in authors['Files']:
        if item['Name'] not in found and item.get('URL') and item.get('SHA256'):
            print_log(f'{name}: fetching {item["URL"]} (licence of the weights: {authors["License"]})', 'current')
            try:
                found[item['Name']] = fetch(item['URL'], item['SHA256'], _fetched(name, item))
            except CheckpointError as e:
                raise CheckpointError(f'{e} Or put it into {_folder()}, under any name.') from e
    missing = [item['Name'] for item in authors['Files'] if item['Name'] not in found]
    if missing:
        note = f', {authors["Note"]}' if 'Note' in authors else ''
        them, files = ('it', 'the file') if len(missing) == 1 else ('them', 'the files')
        place = f'put {them} into {_folder()}'
        raise FileNotFoundError(
            f"{name}: the authors' weights are not here. Fetch {', '.join(missing)} from {authors['Page']}{note} (licence: "
            f'{authors["License"]}), and {place}, or give {files} by --weights.'
        )
    # Of TensorFlow's two files the index stands for both.
    items = sorted(authors['Files'], key=lambda item: item['Name'].endswith('.index'))
    files = {_stem(item): found[item['Name']] for item in items}
    return {_stem(item): files[_stem(item)] for item in authors['Files']}


def _folder() -> str:
    """Say where weights are put."""
    return plain(os.environ.get('MMFUSION_WEIGHTS', '')) or 'a folder and set MMFUSION_WEIGHTS to that'


def local_files(name: str) -> dict[str, Path]:
    """Find a config's authors' files on this machine: published name → file."""
    items = [item for item in published()[name]['Authors Weights']['Files'] if item.get('SHA256')]
    folder = plain(os.environ.get('MMFUSION_WEIGHTS', ''))
    by_digest = by_hash(items, Path(folder)) if folder else {}
    found = {}
    for item in items:
        file = by_digest.get(item['SHA256'], _fetched(name, item))
        if file.is_file() and sha256_of(file) == item['SHA256']:
            found[item['Name']] = file
    return found


def _fetched(name: str, item: dict) -> Path:
    """Where a config's published file lies, under its own name, once fetched."""
    return Path(torch.hub.get_dir()) / 'checkpoints' / 'mmfusion' / name / item['Name']


def _stem(item: dict) -> str:
    return (tf_prefix(item['Name']) or Path(item['Name'])).stem


def by_hash(items: Sequence[dict], folder: Path) -> dict[str, Path]:
    """Find published files in a folder and its subfolders: SHA-256 → file.

    ``items`` are entries of ``Files`` in a metafile, with ``SHA256``; ``Bytes`` saves reading files of other sizes.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        found = 'a file; expected the folder that it lies in' if folder.is_file() else 'no such folder'
        raise FileNotFoundError(f'MMFUSION_WEIGHTS={str(folder)!r}: {found}.')
    sizes, wanted = {item.get('Bytes') for item in items}, {item['SHA256'] for item in items}
    found = {}
    for file in sorted(f for f in folder.rglob('*') if f.is_file()):
        if (None in sizes or file.stat().st_size in sizes) and (digest := sha256_of(file)) in wanted:
            found.setdefault(digest, file)
    return found


def name_files(cfg: Config, weights: str | Path | Sequence[str | Path]) -> str | Path | Sequence | dict[str, Path]:
    """Give authors' files their published names, which ``from_authors`` knows.

    Files are recognised by their SHA-256, otherwise by their names, otherwise by the order given. A file, or files that are
    not as many as the config's metafile publishes, are given back as they are; others as published stem → file.
    """
    entry = published().get(Path(cfg.filename or '').stem, {})
    items = entry.get('Authors Weights', {}).get('Files', [])
    items = list({_stem(item): item for item in items}.values())  # of TensorFlow's files one counts
    if isinstance(weights, str | Path) and Path(weights).is_dir():
        folder = weights
        weights = sorted(f for f in Path(folder).iterdir() if f.is_file() and not f.name.startswith('.'))
        if not weights:
            raise CheckpointError(f'{folder}: a folder without files; expected a checkpoint, or a folder of weights.')
    elif isinstance(weights, str | Path):
        return weights
    files = list(dict.fromkeys(tf_prefix(file) or Path(file) for file in weights))
    if len(items) != len(files) or len(items) < 2 or not all(file.is_file() for file in files):
        return weights
    named, rest = {}, []
    for file in files:
        same = [item for item in items if item.get('SHA256') == sha256_of(file)]
        same = same or [item for item in items if item['Name'] == file.name]
        if same:
            named[_stem(same[0])] = file
        else:
            rest.append(file)
    named |= dict(zip([_stem(item) for item in items if _stem(item) not in named], rest, strict=False))
    return {_stem(item): named[_stem(item)] for item in items if _stem(item) in named}
