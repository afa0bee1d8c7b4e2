"""Text files that people wrote, and names in them."""

import codecs
import difflib
import json
import os
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

_BOMS = {codecs.BOM_UTF8: 'utf-8-sig', codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16'}
# Tried in this order; the last is what Chinese editions of Windows write.
_ENCODINGS = ('utf-8', 'gb18030')


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, UTF-16 or GB 18030.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is in none of these encodings.
    """
    data = Path(path).read_bytes()
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return _decode(data, (encoding,), path)
    if b'\0' in data:  # UTF-16 without a mark: every second byte of Latin letters and line ends is 0
        first, second = data[::2].count(0), data[1::2].count(0)
        return _decode(data, ('utf-16-be' if first > second else 'utf-16-le',), path)
    return _decode(data, _ENCODINGS, path)


def _decode(data, encodings, path):
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError(f'{path}: not a text file in UTF-8, UTF-16 or GB 18030. Save it as UTF-8.')


def read_names(path: str | Path, fit: Callable[[list[Path]], bool] | None = None) -> list[Path]:
    """Read names or paths, one a line, without empty lines, with slashes.

    Args:
        path: A text file.
        fit: Tells whether names are those that are looked for. Where they do not fit as text, but byte by byte, they are
            the names on the disk in an encoding that is not known, such as Latin-1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As :func:`read_text` does.
    """
    unreadable, names = None, None
    try:
        names = _lines(read_text(path))
    except ValueError as e:
        unreadable = e
    if fit is not None and (names is None or not fit(names)):
        same_bytes = _lines(os.fsdecode(Path(path).read_bytes()))
        names = same_bytes if fit(same_bytes) else names
    if names is None:
        raise unreadable
    return names


def _lines(text: str) -> list[Path]:
    lines = (line.strip().strip('"').replace('\\', '/') for line in text.splitlines())
    return [Path(composed(line)) for line in lines if line]


def json_text(content: object, **options) -> str:
    """Write JSON as readable text.

    Where names hold bytes that are no UTF-8, it has escapes.

    Args:
        content: What to write.
        **options: Those of :func:`json.dumps`.
    """
    text = json.dumps(content, ensure_ascii=False, **options)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, **options)
    return text


def to_bytes(text: str) -> bytes:
    """Encode text in UTF-8, names as their bytes are on the disk."""
    return text.encode(errors='surrogateescape')


def composed(name: str) -> str:
    """Give a name in Unicode's composed form, as macOS does not."""
    return unicodedata.normalize('NFC', name)


def near_files(path: str | Path) -> str:
    """Propose files near a missing one: ``' Did you mean a.pth?'``, or nothing."""
    path = Path(path)
    beside = [file.name for file in path.parent.iterdir() if file.name != path.name] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=2, cutoff=0.7)
    return f' Did you mean {" or ".join(str(path.with_name(name)) for name in near)}?' if near else ''


def replace_all(text: str, replacements: Mapping[str, str]) -> str:
    """Replace parts of a text in the order of a dict."""
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text
