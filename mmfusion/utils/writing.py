"""Writing of files under a temporary name, renamed when they are whole."""

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from .outputs import WriteError, system_sentence

_HELD = {}  # folder → the descriptor that holds it, None in workers
# Files that can be written, and all that can be read.
WRITE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


def write_image(path: str | Path, img: np.ndarray) -> None:
    """Write an image through a temporary file and a rename.

    The suffix chooses the format of H×W, H×W×3 (B, G, R) or, as PNG, H×W×4 uint8. Folders are made.

    Raises:
        ValueError: If the suffix is of no known image format, or the array is not uint8.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITE_SUFFIXES:
        raise ValueError(f'{path}: unknown image suffix {path.suffix!r}; expected one of {", ".join(WRITE_SUFFIXES)}')
    if img.dtype != np.uint8:
        raise ValueError(f'{path}: an image to write must be uint8, got {img.dtype}')
    ok, buffer = cv2.imencode(path.suffix, img)
    if not ok:
        raise ValueError(f'{path}: an array of shape {img.shape} cannot be encoded as {path.suffix}')
    write_bytes(path, buffer.tobytes())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes through a temporary file beside ``path`` and a rename.

    Raises:
        WriteError: If it cannot be written: a full disk, no permission, a file in the place of a folder.
    """
    path, tmp = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Names end at 255 bytes, and the temporary one is longer.
        stem = os.fsencode(path.stem)[:200].decode(sys.getfilesystemencoding(), errors='ignore')
        fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f'.{stem}{path.suffix}.', suffix='.tmp')
        with os.fdopen(fd, 'wb') as f:
            f.write(data)
        # mkstemp makes private files; give them what an ordinary open() would.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(tmp, 0o666 & ~umask)
        os.replace(tmp, path)
    except BaseException as e:
        if tmp is not None and os.path.exists(tmp):
            os.unlink(tmp)
        if isinstance(e, OSError) and e.strerror:
            raise WriteError(system_sentence(e, path)) from e
        raise


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Refuse a folder that another process is writing into.

    Two runs in one folder would mix images of two methods, or lose the values of one. The folder is made, and taken away
    again if nothing was written. What a killed process held is free. Where a system cannot lock folders (Windows, some
    network disks), none is refused.

    Raises:
        ValueError: If another process holds it.
        WriteError: If it cannot be made.
    """
    folder = Path(folder).resolve()
    try:
        import fcntl
    except ImportError:
        fcntl = None
    if fcntl is None or folder in _HELD:
        yield
        return
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as e:
        raise WriteError(system_sentence(e, folder)) from e
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(
                    f'{folder}: another process is writing into it. Wait until it has ended, or choose another folder.'
                ) from e
        _HELD[folder] = held
        yield
    finally:
        if _HELD.pop(folder, held) is not None:
            os.close(held)
        for part in made:
            with suppress(OSError):  # something was written
                part.rmdir()


def _let_go() -> None:
    """Leave held folders to the parent.

    Were it killed, they would not be free before its workers have ended.
    """
    for folder, held in _HELD.items():
        if held is not None:
            os.close(held)
            _HELD[folder] = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)


def remove_unfinished(folder: str | Path) -> None:
    """Remove temporary files that killed runs left in a folder and below."""
    for file in Path(folder).rglob('.*.tmp'):
        if re.fullmatch(r'\..+\.\w+\.[a-z0-9_]{8}\.tmp', file.name):
            file.unlink(missing_ok=True)
