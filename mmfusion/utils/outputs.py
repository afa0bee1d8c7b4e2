"""Checks of where results go, before hours of work that would end in an error of the system."""

import contextlib
import tempfile
from pathlib import Path


def check_writable(path: str | Path, option: str = '--out', folder: bool = True) -> None:
    """Refuse a place that cannot be written; leaves nothing there.

    Args:
        path: Folder or file that will be written, and whose parents may be missing.
        option: What the user gave it by, for the message.
        folder: Whether a folder is meant, or a file.

    Raises:
        ValueError: If it is the other of the two, lies in a file, or cannot be written.
    """
    what, other = ('folder', 'file') if folder else ('file', 'folder')
    if not str(path):
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
