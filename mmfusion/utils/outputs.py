"""Checks of where results go, before hours of work."""

import contextlib
import errno
import tempfile
import traceback
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What libraries call the file that they write; some of their errors do not name it.
_NAMES = ('filepath', 'filename', 'file', 'path', 'out_file', 'save_path', 'f')


def is_write_error(error: BaseException) -> bool:
    """Tell whether an error is of a full or read-only disk."""
    kinds = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, WriteError) or (isinstance(error, OSError) and error.errno in kinds)


class WriteError(OSError):
    """A file that cannot be written: which, why, and what to do."""


def system_sentence(error: OSError, file: str | Path | None = None) -> str:
    """Say a system's error in a sentence: file, fault, and cure.

    The file is by default the one that the error names, or that the functions in its traceback do.
    """
    if file is None:  # a renaming is told of both
        file = error.filename if error.filename2 is None else error.filename2
    if file is None:
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        found = [frame[name] for frame in frames for name in _NAMES if isinstance(frame.get(name), str | Path)]
        file = found[-1] if found else None
    what = f'{error.strerror[0].lower()}{error.strerror[1:]}'
    cure = 'Free some space, or write to another disk' if error.errno in _FULL else 'Check the path and its permissions'
    return f'{"a file" if file is None else file}: {what}. {cure}.'


def check_writable(path: str | Path, option: str = '--out', folder: bool = True) -> None:
    """Refuse a folder or file that cannot be written; leaves nothing there.

    Parents may be missing. ``option`` is what the user gave it by, for the message.

    Raises:
        ValueError: If it is a file in place of a folder or the reverse, lies in a file, or cannot be written.
    """
    what, other = ('folder', 'file') if folder else ('file', 'folder')
    if not str(path).strip():
        raise ValueError(f'{option}: an empty path; expected a {what}.')
    target, made = Path(path) if folder else Path(path).parent, []
    try:
        if Path(path).exists() and Path(path).is_dir() != folder:
            raise ValueError(f'{option} {path}: a {other}; expected a {what}.')
        for part in reversed((target, *target.parents)):
            if not part.exists():
                part.mkdir()
                made.append(part)
        with tempfile.NamedTemporaryFile(dir=target, prefix='.writable.'):
            pass
    except OSError as e:
        raise ValueError(
            f'{option} {path}: cannot be written ({(e.strerror or str(e)).lower()}). Choose a {what} in a place that can be '
            'written.'
        ) from e
    finally:
        for part in reversed(made):
            with contextlib.suppress(OSError):  # another process wrote there meanwhile
                part.rmdir()
