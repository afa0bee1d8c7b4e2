"""Load weights so that nothing is left out without a word.

mmengine's own loading warns about names that do not fit and goes on: a checkpoint of another network then gives images of
random weights. Frozen priors are not in checkpoints; their names and hashes are, and another prior is refused.
"""

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from torch import Tensor, nn

from mmfusion.registry import MODELS
from mmfusion.utils import shorten, write_bytes
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint, sha256_of
from mmfusion.utils.configs import published
from mmfusion.version import __version__

from .priors.frozen import held_priors

State = dict[str, Tensor]
# A file, an address, or several files; see read_checkpoint.
Source = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
# Share of tensors, by name and shape, from which on a file is taken for weights of a method.
_ALIKE = 0.6


class Fit(NamedTuple):
    """How a state dict fits a model; all are names.

    ``fitting``: in both, of one shape. ``missing``: only in the model. ``unexpected``: only in the file.
    ``reshaped``: in both, of different shapes.
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
    """Give the frozen backbones' weights by their names in the stock library.

    They are not in ``model.state_dict()``: see :class:`FrozenBackbone`.
    """
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
    """Describe the frozen priors of a model as checkpoints record them.

    Returns:
        Path of the prior within the model → its ``name`` and ``sha256``.
    """
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
    state, meta = _read_for(model, source)
    fit = compare(model, state, training)
    if not fit.exact:
        raise CheckpointError(
            f'{_name(source)}: not a checkpoint of this model. {_describe(model, state, fit)}. '
            f'{_advice(state, meta, model, fit, source)}'
        )
    frozen = frozen_state(model)
    other = [n for n, v in frozen.items() if n in state and not _same(v, state[n])]
    if other:
        raise CheckpointError(
            f'{_name(source)}: has other weights than the frozen backbone of this model: {shorten(other, 3)}. Build the '
            'model with the weights of this file: give the backbone by itself to FrozenBackbone (weights=FILE).'
        )
    check_priors(model, meta, _name(source), training)
    return {name: value for name, value in state.items() if name not in frozen}, meta


def load_weights(model: nn.Module, source: Source) -> dict:
    """Load a checkpoint into its own model, and give its meta information.

    Args:
        model: The model, or its DDP wrapper.
        source: As for :func:`check_weights`.

    Raises:
        CheckpointError: As :func:`check_weights`; the model is then unchanged.
    """
    state, meta = check_weights(model, source)
    own = unwrap(model).state_dict()
    left = [name for name in own if name not in state and not name.endswith('.num_batches_tracked')]
    if left:
        print_log(
            f'{_name(source)}: has no {shorten(left, 3)}, which only training needs; they keep their initial values.',
            'current',
        )
    unwrap(model).load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    return meta


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the latest checkpoint of a run, moved or not; None without.

    ``last_checkpoint`` holds the path that the file was written to. A file of that name beside it comes first.

    Raises:
        CheckpointError: If neither is there.
    """
    path = find_latest_checkpoint(str(work_dir))
    if path is None:
        return None
    beside = Path(work_dir) / re.split(r'[\\/]', path)[-1]
    if beside.is_file():
        return str(beside)
    if not Path(path).is_file():
        raise CheckpointError(
            f'{Path(work_dir) / "last_checkpoint"}: names {path or "nothing"}, and neither that file nor {beside} is there. '
            'Give the checkpoint: --resume FILE.'
        )
    return path


def check_start(model: nn.Module, cfg: Config) -> None:
    """Check what training starts from, before mmengine loads it leniently.

    Resuming needs a checkpoint of this very model. A ``load_from`` may fit in part (fine-tuning): what does and what does
    not is said in the log.

    Args:
        model: The model, or its DDP wrapper.
        cfg: With ``resume``, ``load_from`` and ``work_dir``.

    Raises:
        CheckpointError: If nothing of ``load_from`` fits, or the checkpoint to resume from is of another model.
    """
    path = cfg.get('load_from')
    if cfg.get('resume'):
        path = path or latest_checkpoint(cfg.work_dir)
        if path:
            _, meta = check_weights(model, path, training=True)
            _check_resumed(path, meta, cfg)
        return
    if not path:
        return
    state, meta = _read_for(model, path)
    fit = compare(model, state, training=True)
    if not fit.fitting:
        raise CheckpointError(
            f'load_from={str(path)!r}: nothing in it fits this model. {_describe(model, state, fit)}. '
            f'{_advice(state, meta, model, fit, path)}'
        )
    if not fit.exact:
        print_log(
            f"load_from={str(path)!r}: {len(fit.fitting)} of the model's {len(unwrap(model).state_dict())} tensors are "
            f'loaded; the others keep their initial values. {_describe(model, state, fit)}.',
            'current',
            logging.WARNING,
        )
    else:
        print_log(f'load_from={str(path)!r}: all {len(fit.fitting)} tensors of the model are loaded.', 'current')


def _check_resumed(path: Source, meta: Mapping, cfg: Config) -> None:
    """Refuse to resume with another optimizer, whose state would not fit; say where nothing is left to train."""
    before = _optimizers(Config.fromstring(meta.get('cfg') or '', '.py').get('optim_wrapper'))
    now = _optimizers(cfg.get('optim_wrapper'))
    if before and before != now:
        raise CheckpointError(
            f'{path}: was trained by {", ".join(before)}, and optim_wrapper now has {", ".join(now)}, which cannot go on. '
            'Resume with that optimizer, or start from the weights alone: load_from in place of resume (--resume).'
        )
    for done, most in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
        end = (cfg.get('train_cfg') or {}).get(most)
        if end and meta.get(done, 0) >= end:
            print_log(
                f'{path}: has {meta[done]} {done}s already, and train_cfg.{most} is {end}: nothing is left to train.',
                'current',
                logging.WARNING,
            )


def _optimizers(wrapper: Any) -> list[str]:
    """Classes of the optimizers in the config of a wrapper, or of several by name."""
    if not isinstance(wrapper, Mapping):
        return []
    if isinstance(wrapper.get('optimizer'), Mapping):
        return [str(wrapper['optimizer'].get('type')).rpartition('.')[2]]
    return [name for part in wrapper.values() for name in _optimizers(part)]


def for_runner(model: nn.Module, source: Source, work_dir: str | Path) -> str:
    """Give a file that mmengine's Runner can load into a model.

    Args:
        model: The model, or its DDP wrapper.
        source: Checkpoint, or the authors' files of the model's network.
        work_dir: Where the authors' weights are written, converted.

    Returns:
        ``source``, or the file written.

    Raises:
        CheckpointError: If ``source`` cannot be read.
    """
    if isinstance(source, str | Path) and re.match(r'(?!file:|https?:)[\w-]+://', str(source)):
        return str(source)
    state, _ = read_checkpoint(source)
    converted = authors_state(unwrap(model), state)
    if converted is None:
        return str(source)
    files = [Path(file) for file in ([source] if isinstance(source, str | Path) else _values(source))]
    target = Path(work_dir) / f'{files[0].stem}-converted.pth'
    if is_main_process():
        save_checkpoint(target, converted, dict(converted_from=[file.name for file in files]))
    barrier()
    return str(target)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else ', '.join(map(str, _values(source)))


def _values(source: Source) -> list[str | Path]:
    return list(source.values() if isinstance(source, Mapping) else source)


def save_checkpoint(file: str | Path, state: Mapping[str, Tensor], meta: Mapping | None = None) -> None:
    """Write weights, through a temporary file.

    Args:
        file: To write; replaced if it exists.
        state: Names and tensors.
        meta: For a checkpoint in mmengine's form, what the file says about them; mmfusion's version is added. None for a
            plain state dict.
    """
    content = dict(state)
    if meta is not None:
        content = dict(state_dict=content, meta=dict(mmfusion_version=__version__, **meta))
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(file, buffer.getvalue())


def authors_state(model: nn.Module, state: State) -> State | None:
    """Convert authors' weights of a network in ``model``, by its ``from_authors``.

    Returns:
        State dict with the model's names, or None where ``state`` is of no network in it: each tensor of the network must
        be there, in its shape, and nothing else.
    """
    if any(name in state for name in model.state_dict()):
        return None
    for path, module in model.named_modules():
        converted = _converted(type(module), state)
        if converted is not None and compare(module, converted).exact:
            return {f'{path}.{name}'.removeprefix('.'): value for name, value in converted.items()}
    return None


def _converted(owner: type, state: State) -> State | None:
    """What the ``from_authors`` of a class makes of a state; None where it has none, or refuses."""
    convert: Callable | None = getattr(owner, 'from_authors', None)
    if convert is None:
        return None
    try:
        return convert(dict(state))
    except (KeyError, ValueError, IndexError, RuntimeError, AttributeError, TypeError):  # names or shapes of another
        return None


def method_name(owner: type) -> str:
    """Name the method of a network class, its module below ``methods``."""
    _, found, name = owner.__module__.partition('.methods.')
    return name.partition('.')[0] if found else owner.__name__


def resembling(state: State, source: Source = ()) -> str | None:
    """Name the method whose weights a state dict resembles; None without.

    Compared are the networks that have ``from_authors``, as they are by default: with the file in the authors' form, and in
    ours (the network's alone, a fuser's, or a cascade's). One of several files that make up a method's weights is known by
    its hash, as metafiles list it.
    """
    plain = {re.sub(r'^(fuser\.)?network\.', '', name): value for name, value in state.items()}
    best, text = _ALIKE, None
    for owner, own in _networks():
        for whose, names in (("the authors' weights", _converted(owner, state)), ('weights', plain)):
            same = sum(k in own and own[k].shape == v.shape for k, v in (names or {}).items())
            alike = same / max(len(own.keys() | (names or {}).keys()), 1)
            if alike > best:
                best, text = alike, f'{whose} of {method_name(owner)} ({owner.__name__})'
    return text or _listed(source)


def _listed(source: Source) -> str | None:
    paths = [source] if isinstance(source, str | Path) else source.values() if isinstance(source, Mapping) else source
    paths = [path for path in map(Path, paths) if path.is_file()]
    for entry in published().values():
        files = entry.get('Authors Weights', {}).get('Files', ())
        for item in files:
            size, digest = item.get('Bytes'), item.get('SHA256')
            if any(path.stat().st_size == size and sha256_of(path) == digest for path in paths):
                names = ', '.join(file['Name'] for file in files)
                return f'{item["Name"]} of {entry["In Collection"]}, whose weights are {names} together'
    return None


def _networks() -> Iterator[tuple[type, State]]:
    """All registered networks with ``from_authors``, and their state dicts by default options."""
    MODELS.import_from_location()
    for owner in {id(cls): cls for cls in MODELS.module_dict.values() if hasattr(cls, 'from_authors')}.values():
        try:
            with torch.random.fork_rng(devices=[]):
                yield owner, owner().state_dict()
        except (TypeError, ValueError, ImportError, RuntimeError):  # it needs options, or an optional package
            continue


def place_before_loading(model: nn.Module) -> None:
    """Let a model rename state dicts by ``place_state_dict`` before they are loaded.

    Args:
        model: With a method ``place_state_dict(state) -> state``.
    """
    model.register_load_state_dict_pre_hook(_place)


def _place(module: nn.Module, state: dict, prefix: str, *_: object) -> None:
    """The hook; by name in this module, or a model could not be pickled."""
    if prefix:  # it is part of a larger model
        return
    placed = module.place_state_dict(dict(state))
    state.clear()
    state.update(placed)


def _read_for(model: nn.Module, source: Source) -> tuple[State, dict]:
    """Read a checkpoint for a model.

    One of a cascade's part gets the cascade's names, one of the authors of the model's network the model's.
    """
    state, meta = read_checkpoint(source)
    model = unwrap(model)
    own = model.state_dict()
    if own and all(name.startswith('model.') for name in own):  # which the reader takes for a wrapper's
        state = {f'model.{name}': value for name, value in state.items()}
    converted = authors_state(model, state)
    if converted is not None:
        print_log(f"{_name(source)}: the authors' weights, converted.", 'current')
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
            f'{_name(source)}: {len(bad)} of its {len(state)} tensors hold NaN or infinity: {shorten(bad, 3)}. The training '
            'that wrote it diverged, or the file is damaged: take an earlier checkpoint.'
        )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.cpu(), b.to(a.dtype))


def unwrap(model: nn.Module) -> nn.Module:
    """Take a model out of a wrapper such as DDP's."""
    return model.module if is_model_wrapper(model) else model


def _describe(model: nn.Module, state: State, fit: Fit) -> str:
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


def _advice(state: State, meta: Mapping, model: nn.Module, fit: Fit, source: Source) -> str:
    """Say what the file seems to be, and what to do."""
    for side in getattr(unwrap(model), 'sides', ()):
        if fit.missing and not fit.unexpected and all(name.startswith(f'{side}.') for name in fit.missing):
            other = ', '.join(s for s in unwrap(model).sides if s != side)
            return (
                f'It holds the {other} alone: train the {side} first, starting from it (load_from, fuser_checkpoint or '
                'task_checkpoint).'
            )
    if fit.missing and fit.unexpected and (found := resembling(state, source)):
        return f'It looks like {found}.'
    run = meta.get('experiment_name')
    saved = f' It was saved by the run {run!r}.' if run else ''
    return f'Use the config that it was trained with, with the same --cfg-options.{saved}'
