"""Reading checkpoints, and loading them so that nothing is left out without a word.

mmengine's own loading warns about names that do not fit and goes on: a checkpoint of another network then gives images of
random weights.
"""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, find_latest_checkpoint
from torch import nn

# Checkpoints of other implementations: (a name that only they have, whose it is, the tool that converts them).
_FOREIGN = (
    (
        r'(module\.)?[vi]1\.Conv_BN_ReLU_2\.0\.weight',
        "OCCO's public implementation",
        'tools/model_converters/occo_from_official.py',
    ),
)


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or belongs to another network."""


class Fit(NamedTuple):
    """How a state dict fits a model; all lists are of names.

    ``fitting``: in both, of one shape. ``missing``: only the model has them. ``unexpected``: only the file has them.
    ``reshaped``: in both, of different shapes.
    """

    fitting: list
    missing: list
    unexpected: list
    reshaped: list


def read_checkpoint(path):
    """Read a checkpoint of mmengine, or a plain state dict, onto the CPU.

    A local file is opened with ``weights_only=True``, so that no code in it can run. What has a scheme (``https://``,
    ``open-mmlab://``…) goes through mmengine's ``CheckpointLoader``.

    Args:
        path (str | Path): File or URL.

    Returns:
        tuple[dict[str, Tensor], dict]: The state dict, without the ``module.`` that wrappers put before every name, and
        the checkpoint's ``meta`` (empty for a plain state dict).

    Raises:
        CheckpointError: The file is missing, damaged, holds classes that ``weights_only`` refuses, or no state dict.
    """
    content = _read_url(str(path)) if '://' in str(path) else _read_file(Path(path))
    state = content.get('state_dict', content) if isinstance(content, Mapping) else None
    is_state = isinstance(state, Mapping) and bool(state)
    if not is_state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        found = f'a dict with the keys {_some(list(content))}' if isinstance(content, Mapping) else f'a {type(content)}'
        raise CheckpointError(
            f'{path}: expected a checkpoint with a state_dict, or a state dict (names and tensors), found {found}.'
        )
    if all(name.startswith('module.') for name in state):
        state = {name.removeprefix('module.'): value for name, value in state.items()}
    meta = content.get('meta', {}) if state is not content else {}
    return dict(state), meta if isinstance(meta, Mapping) else {}


def _read_file(path):
    if not path.is_file():
        raise CheckpointError(f'{path}: no such checkpoint')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as e:
        reason = str(e).strip().split('\n', 1)[0]
        raise CheckpointError(
            f'{path}: is no checkpoint, or holds more than weights and plain data ({reason}). Save its state dict alone '
            'with torch.save, or with torch before 2.6, whose rules are narrower, upgrade torch.'
        ) from e
    except (RuntimeError, EOFError, OSError) as e:
        raise CheckpointError(f'{path}: damaged or incomplete ({str(e).strip()}). Copy or download it again.') from e


def _read_url(url):
    try:
        return CheckpointLoader.load_checkpoint(url, map_location='cpu')
    except OSError as e:
        raise CheckpointError(f'{url}: cannot be fetched ({e}). Download it and give the file.') from e


def compare(model, state):
    """How ``state`` fits ``model``.

    Counters of batch norm (``num_batches_tracked``) may be missing, and weights of losses are disregarded where the model
    was built without its losses: neither changes what the model computes.

    Returns:
        Fit: In the order of the model, or of the file.
    """
    model = _unwrap(model)
    own = model.state_dict()
    no_losses = tuple(
        f'{name}.losses.'.removeprefix('.')
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'losses', None), nn.ModuleList) and not len(module.losses)
    )
    common = [name for name in own if name in state]
    return Fit(
        fitting=[name for name in common if own[name].shape == state[name].shape],
        missing=[name for name in own if name not in state and not name.endswith('.num_batches_tracked')],
        unexpected=[name for name in state if name not in own and not name.startswith(no_losses)],
        reshaped=[name for name in common if own[name].shape != state[name].shape],
    )


def check_weights(model, path):
    """Make sure that a checkpoint is one of exactly this model.

    Args:
        model (nn.Module): The model, or its DDP wrapper. It is not changed.
        path (str | Path): File or URL.

    Returns:
        tuple[dict[str, Tensor], dict]: State dict and meta information, as :func:`read_checkpoint` gives them.

    Raises:
        CheckpointError: The file cannot be read, or does not fit: with the first names and shapes that differ, and advice.
    """
    state, meta = read_checkpoint(path)
    fit = compare(model, state)
    if fit.missing or fit.unexpected or fit.reshaped:
        raise CheckpointError(
            f'{path}: not a checkpoint of this model. {_describe(model, state, fit)}. {_advice(state, meta)}'
        )
    return state, meta


def load_weights(model, path):
    """Load a checkpoint into exactly the model that it belongs to.

    Args:
        model (nn.Module): The model, or its DDP wrapper.
        path (str | Path): File or URL: a checkpoint of mmengine or a plain state dict.

    Returns:
        dict: The checkpoint's meta information.

    Raises:
        CheckpointError: As :func:`check_weights`; the model is then unchanged.
    """
    state, meta = check_weights(model, path)
    _unwrap(model).load_state_dict(state, strict=False)
    return meta


def check_start(model, cfg):
    """Look at what training is about to start from, before mmengine loads it leniently.

    Resuming needs a checkpoint of this very model. A ``load_from`` may fit in part (fine-tuning): what does and what does
    not is said in the log.

    Args:
        model (nn.Module): The model, or its DDP wrapper.
        cfg (Config): With ``resume``, ``load_from`` and ``work_dir``.

    Raises:
        CheckpointError: Nothing of ``load_from`` fits, or the checkpoint to resume from is of another model.
    """
    path = cfg.get('load_from')
    if cfg.get('resume'):
        path = path or find_latest_checkpoint(cfg.work_dir)
        if path:
            check_weights(model, path)
        return
    if not path:
        return
    state, meta = read_checkpoint(path)
    fit = compare(model, state)
    if not fit.fitting:
        raise CheckpointError(
            f'load_from={str(path)!r}: nothing in it fits this model. {_describe(model, state, fit)}. '
            f'{_advice(state, meta)}'
        )
    if fit.missing or fit.unexpected or fit.reshaped:
        print_log(
            f"load_from={str(path)!r}: {len(fit.fitting)} of the model's {len(_unwrap(model).state_dict())} tensors are "
            f'loaded; the others keep their initial values. {_describe(model, state, fit)}.',
            'current',
            logging.WARNING,
        )
    else:
        print_log(f'load_from={str(path)!r}: all {len(fit.fitting)} tensors of the model are loaded.', 'current')


def _unwrap(model):
    return model.module if is_model_wrapper(model) else model


def _some(names, most=3):
    """The first few of some names, and how many more there are."""
    shown = ', '.join(str(name) for name in names[:most])
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')


def _describe(model, state, fit):
    """What does not fit, in words."""
    own = _unwrap(model).state_dict()
    parts = []
    if fit.missing:
        parts.append(f'missing in the file: {_some(fit.missing)}')
    if fit.unexpected:
        parts.append(f'unknown to the model: {_some(fit.unexpected)}')
    if fit.reshaped:
        shapes = [f'{n} {list(state[n].shape)} in the file, {list(own[n].shape)} in the model' for n in fit.reshaped]
        parts.append(f'of another shape: {_some(shapes)}')
    text = '; '.join(parts)
    return text[0].upper() + text[1:]


def _advice(state, meta):
    for pattern, owner, tool in _FOREIGN:
        if any(re.fullmatch(pattern, name) for name in state):
            return f'It is a checkpoint of {owner}: convert it by {tool} first.'
    run = meta.get('experiment_name')
    saved = f' It was saved by the run {run!r}.' if run else ''
    return f'Use the config that it was trained with, with the same --cfg-options.{saved}'
