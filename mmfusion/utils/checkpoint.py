"""Reading of weights of any framework and form into one dict."""

import argparse
import hashlib
import pickle
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import barrier, master_only
from mmengine.runner import CheckpointLoader
from safetensors.torch import load_file
from torch import Tensor

from .pairing import shorten
from .text import near_files
from .tf_checkpoint import read_tf_checkpoint, tf_prefix

SUFFIXES = ('.pth', '.pt', '.ckpt', '.pkl', '.model', '.bin', '.tar', '.npz', '.npy', '.safetensors')
# Where checkpoints keep their state dict; the first that is there counts.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'params_ema', 'params', 'net', 'network', 'weight', 'weights')
# What goes on training needs, and nobody else.
_TRAINING = re.compile(r'optim|sched|scaler|ema_state_dict|hook', re.IGNORECASE)


State = dict[str, Tensor]
# A file, an address, or several files; see read_checkpoint.
Source = str | Path | Sequence[str | Path] | Mapping[str, str | Path]


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or belongs to another network."""


def files_of(source: Source) -> list[str | Path]:
    """List the files, or the address, of a source of weights."""
    return (
        [source] if isinstance(source, str | Path) else list(source.values() if isinstance(source, Mapping) else source)
    )


def read_checkpoint(path: Source) -> tuple[State, dict]:
    """Read weights onto the CPU.

    Files of PyTorch are opened with ``weights_only=True``, so that no code in them can run; NumPy's ``.npy`` and ``.npz``,
    safetensors, and TensorFlow checkpoints (their prefix or one of their files) are read, too; which of these a file is
    shows in its first bytes. ``https://`` is fetched; other schemes (``open-mmlab://``…) go through mmengine's
    ``CheckpointLoader``.

    Args:
        path: File, URL, folder of files, or several files, which a mapping gives by name.

    Returns:
        The state dict and the checkpoint's ``meta`` (empty where it has none). Wrappers such as ``state_dict`` and
        ``module.`` are taken off, nested dicts are joined by dots. Of several files each name begins with the file's stem
        (or its name in the mapping) and a dot; an array in a ``.npy`` is named by that alone.

    Raises:
        CheckpointError: If a file is missing, damaged, no checkpoint, or holds more than weights and plain data.
    """
    if path in ('', []):
        raise CheckpointError('weights: an empty path; expected a file, a folder or an address.')
    if isinstance(path, str | Path) and '://' in str(path):
        return _unwrap(_read_url(str(path)), path)
    if isinstance(path, Mapping):
        named = [(name, Path(file).expanduser()) for name, file in path.items()]
    else:
        paths = [Path(p).expanduser() for p in files_of(path)]
        if len(paths) == 1 and paths[0].is_dir():
            paths = _weights_in(paths[0])
        named = [((tf_prefix(file) or file).stem, file) for file in paths]
    # The files of a TensorFlow checkpoint are one.
    whole = {tf_prefix(file) or file: name for name, file in named}
    if len(set(whole.values())) < len(whole):
        raise CheckpointError(
            f'{", ".join(map(str, whole))}: two files have one name without suffix; rename one of them.'
        )
    if len(whole) == 1:
        (file,) = whole
        return _unwrap(_read_file(file), file)
    merged = {}
    for file, name in whole.items():
        state, _ = _unwrap(_read_file(file), file)
        single = list(state) == [file.stem]  # an array, which has the stem for its name already
        merged.update({name if single else f'{name}.{key}': value for key, value in state.items()})
    return merged, {}


def _weights_in(folder: Path) -> list[Path]:
    """Files of weights directly in a folder, sorted by name."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES or f.suffix == '.index')
    if not files:
        raise CheckpointError(f'{folder}: a folder without weights. Expected files such as {", ".join(SUFFIXES)}.')
    return files


def _read_file(path: Path) -> Any:
    prefix = tf_prefix(path)
    if prefix is not None:
        try:
            return read_tf_checkpoint(prefix)
        except ValueError as e:
            raise CheckpointError(str(e)) from e
    if not path.is_file():
        if Path(f'{path}.data-00000-of-00001').is_file():
            raise CheckpointError(f'{path}.index: missing; a TensorFlow checkpoint is its .index and its .data files.')
        raise CheckpointError(f'{path}: no such checkpoint.{near_files(path)} Check the path.')
    with path.open('rb') as f:
        head = f.read(256)
    _refuse_other_files(path, head)
    try:
        if head.startswith(b'\x93NUMPY'):
            return {path.stem: _tensor(np.load(path, allow_pickle=False))}
        if head.startswith(b'PK') and _holds_arrays(path):
            return {name: _tensor(value) for name, value in np.load(path, allow_pickle=False).items()}
        if head[8:9] == b'{':
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=True)
    except CheckpointError:
        raise
    except Exception as e:  # whatever the readers raise for a file that is cut or of another kind
        raise CheckpointError(f'{path}: {reason_of(e)}') from e


def _holds_arrays(path: Path) -> bool:
    """Tell NumPy's zip archives (``.npz``) from torch's; refuse others."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith('/constants.pkl') for name in names):
        raise CheckpointError(
            f'{path}: is a TorchScript archive, a program with its weights. Save its weights alone: '
            'torch.save(torch.jit.load(FILE).state_dict(), OUT).'
        )
    arrays = all(name.endswith('.npy') for name in names)
    if not arrays and not any(name.endswith('data.pkl') for name in names):
        raise CheckpointError(
            f'{path}: is a zip archive with {shorten(names, 3)}, not a file of weights. Unpack it first.'
        )
    return arrays


def reason_of(error: Exception) -> str:
    """Say why a file could not be read, without torch's dangerous advice."""
    text = str(error).strip() or type(error).__name__
    found = re.search(r'GLOBAL (\w[\w.]*\.\w+)', text)
    if isinstance(error, pickle.UnpicklingError) and found:
        return (
            f'holds more than weights: objects of {found[1]}, as a whole pickled model does, whose code would have to run. '
            'In the environment that made it, save model.state_dict() alone with torch.save, and give that file.'
        )
    if 'Object arrays' in text:
        return 'holds pickled objects in the place of numbers. Save the arrays alone.'
    if isinstance(error, pickle.UnpicklingError | KeyError | IndexError) and not re.search(
        r'truncated|input|EOF', text
    ):
        return 'is no checkpoint: not a file that torch.save wrote, or damaged.'
    reason = 'the end of the archive is missing' if isinstance(error, zipfile.BadZipFile) else text.splitlines()[0]
    return f'damaged or incomplete ({reason}). Copy or download it again.'


def _refuse_other_files(path: Path, head: bytes) -> None:
    """Say what a file is that only bears a checkpoint's name."""
    if not head:
        raise CheckpointError(f'{path}: is empty (0 bytes). Copy or download it again.')
    if head.startswith(b'version https://git-lfs'):
        size = re.search(rb'size (\d+)', head)
        raise CheckpointError(
            f'{path}: is a Git LFS pointer{f" to {int(size[1]):,} bytes" if size else ""}, not the weights. Run "git lfs '
            'pull" in its repository, or download the file itself.'
        )
    if re.match(rb'(\xef\xbb\xbf)?\s*(<!doctype html|<html|<\?xml|<head|<!--)', head, re.IGNORECASE):
        raise CheckpointError(
            f'{path}: is a web page, not the weights: the download asked for a login or a confirmation. Fetch the file in a '
            'browser.'
        )
    if head.startswith(b'\x89HDF'):
        raise CheckpointError(
            f'{path}: is an HDF5 file (Keras). Expected weights of torch, NumPy or TensorFlow: convert it.'
        )


def _read_url(url: str) -> Any:
    if url.startswith(('http://', 'https://', 'file://')):
        return _read_file(fetch(url))
    try:
        return CheckpointLoader.load_checkpoint(url, map_location='cpu')
    except Exception as e:  # of an unknown name, or without the package that a scheme needs, mmengine raises any type
        found = ' '.join(str(e.args[0] if e.args else e).split())
        raise CheckpointError(
            f'{url}: cannot be fetched ({type(e).__name__}: {found}). Download it and give the file.'
        ) from e


def fetch(url: str, sha256: str | None = None, file: str | Path | None = None) -> Path:
    """Download a file once; in several processes the first one does.

    Args:
        url: Where it is.
        sha256: What its SHA-256 must be or begin with, hexadecimal.
        file: Where to put it. Default: torch's folder of checkpoints.

    Raises:
        CheckpointError: If it cannot be fetched, or is another file than expected.
    """
    name = re.split(r'[?#]', url)[0].rstrip('/').rpartition('/')[2]
    file = Path(file or Path(torch.hub.get_dir()) / 'checkpoints' / name)
    try:
        _download(url, file, sha256)
    finally:
        barrier()
    if not file.is_file():
        raise CheckpointError(f'{url}: the first process could not fetch it. Download it and give the file.')
    return file


@master_only
def _download(url: str, file: Path, sha256: str | None) -> None:
    if file.is_file() and (sha256 is None or sha256_of(file).startswith(sha256)):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(file), sha256, progress=sys.stderr.isatty())
    except RuntimeError as e:
        raise CheckpointError(
            f'{url}: the file there is another one than expected (its SHA-256 is not {sha256}). Get it from its authors, '
            'and give the file.'
        ) from e
    except OSError as e:
        raise CheckpointError(f'{url}: cannot be fetched ({e}). Download it and give the file.') from e


def sha256_of(file: str | Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal."""
    stat = Path(file).stat()
    return _sha256(Path(file), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _sha256(file: Path, *_) -> str:
    """Computed again only when the file's time or size changes."""
    digest = hashlib.sha256()
    with open(file, 'rb') as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _unwrap(content: Any, source: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Take the state dict out of what a file holds."""
    meta = content.get('meta') if isinstance(content, Mapping) else None
    state = content
    while isinstance(state, Mapping) and not any(isinstance(v, Tensor | np.ndarray) for v in state.values()):
        inner = {k: v for k, v in state.items() if isinstance(v, Mapping) and _holds_tensors(v)}
        own = [k for k in _WRAPPERS if k in inner] or [k for k in inner if not _TRAINING.search(str(k))]
        if len(own) != 1 and not any(k in inner for k in _WRAPPERS):
            state = {k: inner[k] for k in own}
            break
        state = inner[own[0]]
    flat = _flat(state) if isinstance(state, Mapping) else {}
    if not flat:
        found = f'a {type(content).__name__}'
        if isinstance(content, Mapping):
            found = f'a dict with the keys {shorten(content, 3)}' if content else 'an empty dict'
        raise CheckpointError(
            f'{source}: expected a checkpoint with a state_dict, or a state dict (names and tensors), found {found}.'
        )
    return _without_prefixes(flat), dict(meta) if isinstance(meta, Mapping) else {}


def _holds_tensors(tree: Mapping) -> bool:
    return any(
        isinstance(v, Tensor | np.ndarray) or (isinstance(v, Mapping) and _holds_tensors(v)) for v in tree.values()
    )


def _flat(tree: Mapping, prefix: str = '') -> dict[str, Tensor]:
    """Join nested dicts by dots; what is no tensor is left out."""
    out = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out.update(_flat(value, f'{prefix}{key}.'))
        elif isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in 'fiub'):
            out[f'{prefix}{key}'] = value if isinstance(value, Tensor) else _tensor(value)
    return out


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers put before names: DataParallel's, torch.compile's, Lightning's."""
    names = list(state)
    while True:
        short = [re.sub(r'(^|\.)(?:module|_orig_mod)\.', r'\1', name) for name in names]
        if all(name.startswith('model.') for name in short):
            short = [name.removeprefix('model.') for name in short]
        if short == names or len(set(short)) < len(short):
            return dict(zip(names, state.values(), strict=True))
        names = short
