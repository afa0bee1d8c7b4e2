"""Whose weights a file holds, by its tensors or its hash."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import Source, State, files_of, sha256_of
from mmfusion.utils.configs import published

# Share of tensors, by name and shape, from which on a file is taken for weights of a method.
_ALIKE = 0.6


def by_authors(owner: type, state: State) -> State | None:
    """Give what a class's ``from_authors`` makes of a state; None without."""
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
        for whose, names in (("the authors' weights", by_authors(owner, state)), ('weights', plain)):
            same = sum(k in own and own[k].shape == v.shape for k, v in (names or {}).items())
            alike = same / max(len(own.keys() | (names or {}).keys()), 1)
            if alike > best:
                best, text = alike, f'{whose} of {method_name(owner)} ({owner.__name__})'
    return text or _listed(source)


def _listed(source: Source) -> str | None:
    paths = [path for path in map(Path, files_of(source)) if path.is_file()]
    for entry in published().values():
        files = entry.get('Authors Weights', {}).get('Files', ())
        for item in files:
            size, digest = item.get('Bytes'), item.get('SHA256')
            if any(path.stat().st_size == size and sha256_of(path) == digest for path in paths):
                names = ', '.join(file['Name'] for file in files)
                return f'{item["Name"]} of {entry["In Collection"]}, whose weights are {names} together'
    return None


def _networks() -> Iterator[tuple[type, State]]:
    """Registered networks with ``from_authors``, and their default state dicts."""
    MODELS.import_from_location()
    for owner in {id(cls): cls for cls in MODELS.module_dict.values() if hasattr(cls, 'from_authors')}.values():
        try:
            with torch.random.fork_rng(devices=[]):
                yield owner, owner().state_dict()
        except (TypeError, ValueError, ImportError, RuntimeError):  # it needs options, or an optional package
            continue
