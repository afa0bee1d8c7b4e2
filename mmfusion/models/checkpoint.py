"""Loading of weights into models, so that nothing is left out in silence.

mmengine's own loading warns about names that do not fit and goes on: a checkpoint of another network then gives images of
random weights. Frozen priors are not in checkpoints; their names and hashes are, and another prior is refused.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from torch import Tensor, nn

from mmfusion.models.priors.frozen import held_priors
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint


class Fit(NamedTuple):
    """How a state dict fits a model; all lists are of names.

    ``fitting``: in both, of one shape. ``missing``: only the model has them. ``unexpected``: only the file has them.
    ``reshaped``: in both, of different shapes.
    """

    fitting: list
    missing: list
    unexpected: list
    reshaped: list


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
        path = path or latest_checkpoint(cfg.work_dir)
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


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the checkpoint to resume from, in a folder that may have been moved since.

    Returns:
        The file that ``last_checkpoint`` names, or the one of that name beside it; None where there is none.
    """
    path = find_latest_checkpoint(str(work_dir))
    if path is None or Path(path).is_file():
        return path
    beside = Path(work_dir) / Path(path.replace('\\', '/')).name
    return str(beside) if beside.is_file() else None


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
    """Read a checkpoint for a model.

    One of a cascade's part gets the cascade's names; one of the authors of the model's network gets the network's names.
    """
    state, meta = read_checkpoint(path)
    model = unwrap(model)
    fuser = getattr(model, 'fuser', model)
    network = getattr(fuser, 'network', None)
    if not any(name in state for name in model.state_dict()):
        converted = from_authors(network, state)
        if converted is not None:
            names = path if isinstance(path, str | Path) else ', '.join(map(str, path))
            print_log(f"{names}: the authors' weights of {type(network).__name__}.", 'current')
            state = {f'network.{name}': value for name, value in converted.items()}
    place = getattr(model, 'place_state_dict', None)
    return (place(state) if place else state), meta


def from_authors(network: nn.Module | None, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Turn the authors' weights into a network's own names.

    Args:
        network: Of a class with ``from_authors(state)``, or None.
        state: As :func:`read_checkpoint` gives it.

    Returns:
        The state dict, or None where these are no authors' weights of this network.
    """
    if not hasattr(network, 'from_authors'):
        return None
    try:
        converted = network.from_authors(dict(state))
    except (KeyError, ValueError, IndexError, RuntimeError, AttributeError, TypeError):  # names or shapes of another
        return None
    own = network.state_dict()
    same = all(name in converted and converted[name].shape == value.shape for name, value in own.items())
    return {name: converted[name] for name in own} if same else None


def authors_of(state: dict[str, Tensor]) -> str | None:
    """Find the registered method whose authors' weights these are, by names and shapes."""
    MODELS.import_from_location()
    for name, method in sorted(MODELS.module_dict.items()):
        if hasattr(method, 'from_authors'):
            try:
                network = method()
            except TypeError:  # needs options: cannot be tried
                continue
            if from_authors(network, state) is not None:
                return name
    return None


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
    owner = authors_of(state)
    if owner:
        return (
            f"By its names it holds the authors' weights of {owner}: build that method, which takes them as they are."
        )
    run = meta.get('experiment_name')
    saved = f' It was saved by the run {run!r}.' if run else ''
    return f'Use the config that it was trained with, with the same --cfg-options.{saved}'
