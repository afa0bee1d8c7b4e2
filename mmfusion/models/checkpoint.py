"""Load weights so that nothing is left out without a word.

mmengine's own loading warns about names that do not fit and goes on: a checkpoint of another network then gives images of
random weights. Frozen priors are not in checkpoints; their names and hashes are, and another prior is refused.
"""

import io
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmfusion.utils import shorten, write_bytes
from mmfusion.utils.checkpoint import CheckpointError, Source, State, files_of, read_checkpoint
from mmfusion.utils.log import log_warning
from mmfusion.version import __version__

from .likeness import by_authors, method_name, resembling
from .priors.frozen import held_priors

# What lay here before, and where it is.
_MOVED = dict(check_start='resuming', for_runner='resuming', latest_checkpoint='resuming')


def __getattr__(name: str) -> Any:
    """Give what moved to a module beside this one."""
    if name not in _MOVED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'mmfusion.models.{_MOVED[name]}'), name)


class Fit(NamedTuple):
    """How a state dict fits a model; all are names.

    ``fitting``: in both, of one shape; ``reshaped``: of two. ``missing``: only in the model; ``unexpected``: only in the
    file.
    """

    fitting: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    @property
    def exact(self) -> bool:
        """Tell whether nothing is missing, unexpected, or of another shape."""
        return not (self.missing or self.unexpected or self.reshaped)


def compare(model: nn.Module, state: Mapping[str, Tensor], training: bool = False) -> Fit:
    """Compare a state dict with a model, by names and shapes.

    Disregarded are counters of batch norm (``num_batches_tracked``) that are missing, and weights of frozen backbones,
    which a stock library's checkpoint has (:func:`check_weights` compares them). So is what modules declare as
    ``training_only`` (losses, discriminators), unless ``training``: it changes nothing of what the model computes.
    """
    model = unwrap(model)
    own = model.state_dict()
    aside = () if training else training_only(model)
    frozen = frozen_state(model)
    common = [name for name in own if name in state]
    return Fit(
        fitting=[name for name in common if own[name].shape == state[name].shape],
        missing=[
            n for n in own if n not in state and not n.endswith('.num_batches_tracked') and not n.startswith(aside)
        ],
        unexpected=[n for n in state if n not in own and n not in frozen and not n.startswith(aside)],
        reshaped=[name for name in common if own[name].shape != state[name].shape],
    )


def training_only(model: nn.Module) -> tuple[str, ...]:
    """List prefixes of ``training_only`` parts in a model and its submodules."""
    return tuple(
        f'{path}.{part}.'.removeprefix('.')
        for path, module in unwrap(model).named_modules()
        for part in getattr(module, 'training_only', ())
    )


def frozen_state(model: nn.Module) -> State:
    """Give frozen backbones' weights, no part of ``state_dict()``, by their stock names."""
    return {
        f'{path}.{name}'.removeprefix('.'): value
        for path, module in unwrap(model).named_modules()
        if hasattr(module, 'stock_state_dict')
        for name, value in module.stock_state_dict().items()
    }


def full_state_dict(model: nn.Module) -> State:
    """Give the state dict with frozen backbones, for the stock library."""
    return {**unwrap(model).state_dict(), **frozen_state(model)}


def prior_records(model: nn.Module) -> dict[str, dict]:
    """Describe a model's frozen priors for checkpoints: path → ``name`` and ``sha256``."""
    return {path: prior.identity for path, prior in held_priors(unwrap(model)).items()}


def check_priors(model: nn.Module, meta: Mapping, source: str | Path, training: bool = False) -> None:
    """Refuse a model with other frozen priors than a checkpoint's.

    Priors are compared by their place; a checkpoint of a fuser alone and one of a cascade are matched by the end of it. Not
    compared is what one side lacks: a prior says nothing about a model that has none there. A checkpoint without any record
    (a plain state dict) is taken, with a warning.

    Args:
        model: The model, or its DDP wrapper.
        meta: Of the checkpoint.
        source: The checkpoint, for messages.
        training: Whether to compare the priors of losses, too: they matter where training goes on.

    Raises:
        CheckpointError: If a prior is another one; both are named.
    """
    aside = () if training else training_only(model)
    own = {path: record for path, record in prior_records(model).items() if not path.startswith(aside)}
    records = meta.get('priors')
    if own and records is None:
        names = ', '.join(sorted({record['name'] for record in own.values()}))
        log_warning(f'{source}: does not say which prior it was trained with. Make sure that it was {names}.')
    for path, there in (records or {}).items():
        for place, here in own.items():
            same_place = f'.{place}'.endswith(f'.{path}') or f'.{path}'.endswith(f'.{place}')
            if same_place and here['sha256'] != there['sha256']:
                raise CheckpointError(
                    f'{source}: was trained with the prior {there["name"]} (SHA-256 {there["sha256"][:16]}…), and this '
                    f"model's {place!r} is {here['name']} (SHA-256 {here['sha256'][:16]}…). Give it the same weights; to "
                    'train on with another prior, use load_from and PriorRecordHook(allow_other=True).'
                )


def check_weights(model: nn.Module, source: Source, training: bool = False) -> tuple[State, dict]:
    """Refuse a checkpoint that is not exactly this model's, priors included.

    Args:
        model: The model, or its DDP wrapper. It is not changed.
        source: File, URL or several files, see :func:`read_checkpoint`; also those of the network's authors, which its
            ``from_authors`` converts.
        training: Whether what only training needs must fit, too: losses, their priors, discriminators.

    Returns:
        State dict with the model's names, and the file's meta information.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit; with the first names and shapes that differ.
    """
    state, meta = read_for(model, source)
    fit = compare(model, state, training)
    if not fit.exact:
        raise CheckpointError(
            f'{name_of(source)}: not a checkpoint of this model. {misfit(model, state, meta, source, fit)}'
        )
    frozen = frozen_state(model)
    other = [n for n, v in frozen.items() if n in state and not torch.equal(v.cpu(), state[n].to(v.dtype))]
    if other:
        raise CheckpointError(
            f'{name_of(source)}: has other weights than the frozen backbone of this model: {shorten(other, 3)}. Build the '
            'model with the weights of this file: give the backbone by itself to FrozenBackbone (weights=FILE).'
        )
    check_priors(model, meta, name_of(source), training)
    return {name: value for name, value in state.items() if name not in frozen}, meta


def load_weights(model: nn.Module, source: Source) -> dict:
    """Load a checkpoint into its own model, and give its meta information.

    Raises:
        CheckpointError: As :func:`check_weights`, which tells of the arguments; the model is then unchanged.
    """
    state, meta = check_weights(model, source)
    own = unwrap(model).state_dict()
    left = [name for name in own if name not in state and not name.endswith('.num_batches_tracked')]
    if left:
        print_log(
            f'{name_of(source)}: has no {shorten(left, 3)}, which only training needs; they keep their initial values.',
            'current',
        )
    unwrap(model).load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    return meta


def save_checkpoint(file: str | Path, state: Mapping[str, Tensor], meta: Mapping | None = None) -> None:
    """Write weights, through a temporary file.

    With ``meta`` in mmengine's form, with what the file says about them and mmfusion's version; else a plain state dict.
    """
    content = dict(state)
    if meta is not None:
        content = dict(state_dict=content, meta=dict(mmfusion_version=__version__, **meta))
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(file, buffer.getvalue())


def authors_state(model: nn.Module, state: State) -> State | None:
    """Convert authors' weights of a network in ``model``, by its ``from_authors``.

    None where ``state`` is of no network in it: each tensor of the network must be there, in its shape, and nothing else.
    """
    if any(name in state for name in model.state_dict()):
        return None
    for path, module in model.named_modules():
        converted = by_authors(type(module), state)
        if converted is not None and compare(module, converted).exact:
            return {f'{path}.{name}'.removeprefix('.'): value for name, value in converted.items()}
    return None


def place_before_loading(model: nn.Module) -> None:
    """Let a model rename state dicts by ``place_state_dict`` before they are loaded."""
    model.register_load_state_dict_pre_hook(_place)


def _place(module: nn.Module, state: dict, prefix: str, *_: object) -> None:
    """The hook, by name in this module so that models pickle."""
    if prefix:  # it is part of a larger model
        return
    placed = module.place_state_dict(dict(state))
    state.clear()
    state.update(placed)


def read_for(model: nn.Module, source: Source) -> tuple[State, dict]:
    """Read a checkpoint for a model, with the model's names.

    One of a cascade's part gets the cascade's names, one of the authors of the model's network the model's.
    """
    state, meta = read_checkpoint(source)
    model = unwrap(model)
    own = model.state_dict()
    if own and all(name.startswith('model.') for name in own):  # which the reader takes for a wrapper's
        state = {f'model.{name}': value for name, value in state.items()}
    converted = authors_state(model, state)
    if converted is not None:
        print_log(f"{name_of(source)}: the authors' weights, converted.", 'current')
        _refuse_not_finite(converted, own, source)
        return converted, meta
    place = getattr(model, 'place_state_dict', None)
    state = place(state) if place else state
    _refuse_not_finite(state, own, source)
    return state, meta


def _refuse_not_finite(state: State, own: Mapping, source: Source) -> None:
    bad = [n for n, v in state.items() if n in own and v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise CheckpointError(
            f'{name_of(source)}: {len(bad)} of its {len(state)} tensors hold NaN or infinity: {shorten(bad, 3)}. The '
            'training that wrote it diverged, or the file is damaged: take an earlier checkpoint.'
        )


def name_of(source: Source) -> str:
    """Name a source of weights in messages."""
    return ', '.join(map(str, files_of(source)))


def unwrap(model: nn.Module) -> nn.Module:
    """Take a model out of a wrapper such as DDP's."""
    return model.module if is_model_wrapper(model) else model


def describe(model: nn.Module, state: State, fit: Fit) -> str:
    """Say what does not fit."""
    own = unwrap(model).state_dict()
    parts = []
    if fit.missing:
        parts.append(f'missing in the file: {shorten(fit.missing, 3)}')
    if fit.unexpected:
        parts.append(f'unknown to the model: {shorten(fit.unexpected, 3)}')
    if fit.reshaped:
        shapes = [f'{n} {list(state[n].shape)} in the file, {list(own[n].shape)} in the model' for n in fit.reshaped]
        parts.append(f'of another shape: {shorten(shapes, 3)}')
    text = '; '.join(parts)
    return text[0].upper() + text[1:]


def misfit(model: nn.Module, state: State, meta: Mapping, source: Source, fit: Fit) -> str:
    """Say what does not fit, what it seems, and the cure."""
    return f'{describe(model, state, fit)}. {_advice(model, state, meta, source, fit)}'


def _expected(model: nn.Module) -> str:
    model = unwrap(model)
    network = getattr(getattr(model, 'fuser', model), 'network', None)
    if network is None:
        return 'Give weights of this model, or take the config that these belong to.'
    owner = type(network)
    return (
        f'Expected are weights of {method_name(owner)} ({owner.__name__}): give all files of those, or take the method that '
        'these belong to.'
    )


def _advice(model: nn.Module, state: State, meta: Mapping, source: Source, fit: Fit) -> str:
    for side in getattr(unwrap(model), 'sides', ()):
        if fit.missing and not fit.unexpected and all(name.startswith(f'{side}.') for name in fit.missing):
            other = ', '.join(s for s in unwrap(model).sides if s != side)
            return (
                f'It holds the {other} alone: train the {side} first, starting from it (load_from, fuser_checkpoint or '
                'task_checkpoint).'
            )
    if fit.missing and fit.unexpected and (found := resembling(state, source)):
        return f'It looks like {found}. {_expected(model)}'
    run = meta.get('experiment_name')
    saved = f' It was saved by the run {run!r}.' if run else ''
    return f'Use the config that it was trained with, with the same --cfg-options.{saved}'
