"""Reading checkpoints, and loading them so that nothing is left out without a word.

mmengine's own loading warns about names that do not fit and goes on: a checkpoint of another network then gives images of
random weights. Frozen priors are not in checkpoints; their names and hashes are, and another prior is refused.
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


def read_checkpoint(path, keys=('state_dict',)):
    """Read a checkpoint of mmengine, or a plain state dict, onto the CPU.

    A local file is opened with ``weights_only=True``, so that no code in it can run. What has a scheme (``https://``,
    ``open-mmlab://``…) goes through mmengine's ``CheckpointLoader``.

    Args:
        path (str | Path): File or URL.
        keys (Sequence[str]): Where a checkpoint may keep its state dict; the first that is there counts.

    Returns:
        tuple[dict[str, Tensor], dict]: The state dict, without the ``module.`` that wrappers put before every name, and
        the checkpoint's ``meta`` (empty for a plain state dict).

    Raises:
        CheckpointError: The file is missing, damaged, holds classes that ``weights_only`` refuses, or no state dict.
    """
    content = _read_url(str(path)) if '://' in str(path) else _read_file(Path(path))
    state = None
    if isinstance(content, Mapping):
        state = next((content[key] for key in keys if key in content), content)
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
    was built without its losses: neither changes what the model computes. Nor do weights of frozen backbones, which a
    stock library's checkpoint has (:func:`check_weights` compares them).

    Returns:
        Fit: In the order of the model, or of the file.
    """
    model = unwrap(model)
    own = model.state_dict()
    no_losses = tuple(
        f'{name}.{part}.'.removeprefix('.')
        for name, module in model.named_modules()
        for part in getattr(module, 'training_only', ())
        if not list(getattr(module, part, ()))
    )
    frozen = frozen_state(model)
    common = [name for name in own if name in state]
    return Fit(
        fitting=[name for name in common if own[name].shape == state[name].shape],
        missing=[name for name in own if name not in state and not name.endswith('.num_batches_tracked')],
        unexpected=[n for n in state if n not in own and n not in frozen and not n.startswith(no_losses)],
        reshaped=[name for name in common if own[name].shape != state[name].shape],
    )


def frozen_state(model):
    """Weights of the frozen backbones of stock models within ``model``, by the names they have in the stock library.

    They are not in ``model.state_dict()``: see :class:`FrozenBackbone`.
    """
    return {
        f'{path}.{name}'.removeprefix('.'): value
        for path, module in unwrap(model).named_modules()
        if hasattr(module, 'stock_state_dict')
        for name, value in module.stock_state_dict().items()
    }


def full_state_dict(model):
    """State dict with the weights of frozen backbones: what the stock library loads into its own, unfrozen class."""
    return {**unwrap(model).state_dict(), **frozen_state(model)}


def prior_records(model):
    """What a checkpoint says about the frozen priors of a model.

    Returns:
        dict[str, dict]: Path of the prior within the model → its ``name`` and ``sha256``.
    """
    from mmfusion.models.priors import held_priors  # the models import this module

    return {path: prior.identity for path, prior in held_priors(unwrap(model)).items()}


def check_priors(model, meta, source, losses=False):
    """Make sure that a model has the frozen priors that a checkpoint was trained with.

    Priors are compared by their place; a checkpoint of a fuser alone and one of a cascade are matched by the end of it. Not
    compared is what one side lacks: a prior says nothing about a model that has none there. A checkpoint without any record
    (a plain state dict) is taken, with a warning.

    Args:
        model (nn.Module): The model, or its DDP wrapper.
        meta (dict): Of the checkpoint.
        source (str | Path): The checkpoint, for messages.
        losses (bool): Whether to compare the priors of losses, too: they matter where training goes on.

    Raises:
        CheckpointError: Another prior: both are named.
    """
    own = {k: v for k, v in prior_records(model).items() if losses or not re.search(r'(^|\.)losses\.', k)}
    records = meta.get('priors')
    if own and records is None:
        names = ', '.join(sorted({record['name'] for record in own.values()}))
        print_log(
            f'{source}: does not say which prior it was trained with. Make sure that it was {names}.',
            'current',
            logging.WARNING,
        )
    for path, there in (records or {}).items():
        for place, here in own.items():
            same_place = f'.{place}'.endswith(f'.{path}') or f'.{path}'.endswith(f'.{place}')
            if same_place and here['sha256'] != there['sha256']:
                raise CheckpointError(
                    f'{source}: was trained with the prior {there["name"]} (SHA-256 {there["sha256"][:16]}…), and this '
                    f"model's {place!r} is {here['name']} (SHA-256 {here['sha256'][:16]}…). Give it the same weights; to "
                    'train on with another prior, use load_from and PriorRecordHook(allow_other=True).'
                )


def check_weights(model, path, losses=False):
    """Make sure that a checkpoint is one of exactly this model, frozen priors included.

    Args:
        model (nn.Module): The model, or its DDP wrapper. It is not changed.
        path (str | Path): File or URL.
        losses (bool): Whether the priors of losses have to be the same, too.

    Returns:
        tuple[dict[str, Tensor], dict]: State dict and meta information, as :func:`read_checkpoint` gives them.

    Raises:
        CheckpointError: The file cannot be read, or does not fit: with the first names and shapes that differ, and advice.
    """
    state, meta = _read_for(model, path)
    fit = compare(model, state)
    if fit.missing or fit.unexpected or fit.reshaped:
        raise CheckpointError(
            f'{path}: not a checkpoint of this model. {_describe(model, state, fit)}. {_advice(state, meta, model, fit)}'
        )
    frozen = frozen_state(model)
    other = [n for n, v in frozen.items() if n in state and not _same(v, state[n])]
    if other:
        raise CheckpointError(
            f'{path}: has other weights than the frozen backbone of this model: {_some(other)}. Build the model with the '
            'weights of this file: give the backbone by itself to FrozenBackbone (weights=FILE).'
        )
    check_priors(model, meta, path, losses)
    return {name: value for name, value in state.items() if name not in frozen}, meta


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
    unwrap(model).load_state_dict(state, strict=False)
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
            check_weights(model, path, losses=True)
        return
    if not path:
        return
    state, meta = _read_for(model, path)
    fit = compare(model, state)
    if not fit.fitting:
        raise CheckpointError(
            f'load_from={str(path)!r}: nothing in it fits this model. {_describe(model, state, fit)}. '
            f'{_advice(state, meta)}'
        )
    if fit.missing or fit.unexpected or fit.reshaped:
        print_log(
            f"load_from={str(path)!r}: {len(fit.fitting)} of the model's {len(unwrap(model).state_dict())} tensors are "
            f'loaded; the others keep their initial values. {_describe(model, state, fit)}.',
            'current',
            logging.WARNING,
        )
    else:
        print_log(f'load_from={str(path)!r}: all {len(fit.fitting)} tensors of the model are loaded.', 'current')


def place_before_loading(model):
    """Let a model put the names of a state dict right by its ``place_state_dict`` before anybody loads it.

    Args:
        model (nn.Module): With a method ``place_state_dict(state) -> state``.
    """

    def place(module, state, prefix, *_):
        if prefix:  # it is part of a larger model
            return
        placed = module.place_state_dict(dict(state))
        state.clear()
        state.update(placed)

    model.register_load_state_dict_pre_hook(place)


def _read_for(model, path):
    """Read a checkpoint; one of a cascade's part gets the cascade's names."""
    state, meta = read_checkpoint(path)
    place = getattr(unwrap(model), 'place_state_dict', None)
    return (place(state) if place else state), meta


def _same(a, b):
    return a.shape == b.shape and torch.equal(a.cpu(), b.to(a.dtype))


def unwrap(model):
    """The model itself, where it may stand in a wrapper such as DDP's."""
    return model.module if is_model_wrapper(model) else model


def _some(names, most=3):
    """The first few of some names, and how many more there are."""
    shown = ', '.join(str(name) for name in names[:most])
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')


def _describe(model, state, fit):
    """What does not fit, in words."""
    own = unwrap(model).state_dict()
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


def _advice(state, meta, model=None, fit=None):
    sides = getattr(unwrap(model), 'sides', ()) if model is not None else ()
    for side in sides:
        if fit.missing and not fit.unexpected and all(name.startswith(f'{side}.') for name in fit.missing):
            other = ', '.join(s for s in sides if s != side)
            return (
                f'It holds the {other} alone: train the {side} first, starting from it (load_from, fuser_checkpoint or '
                'task_checkpoint).'
            )
    for pattern, owner, tool in _FOREIGN:
        if any(re.fullmatch(pattern, name) for name in state):
            return f'It is a checkpoint of {owner}: convert it by {tool} first.'
    run = meta.get('experiment_name')
    saved = f' It was saved by the run {run!r}.' if run else ''
    return f'Use the config that it was trained with, with the same --cfg-options.{saved}'
