"""Records of how a folder's files were made, written beside them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmfusion.version import __version__

from .checkpoint import Source, files_of, sha256_of
from .pairing import shorten
from .text import json_text
from .writing import write_bytes

RECORD = 'fuse.json'
CURE = 'Choose another --out, or say --overwrite to fuse images of these names again (others must be moved away).'


def model_settings(
    config: str | Path,
    checkpoint: Source,
    cfg_options: Mapping | None = None,
    tile: Sequence[int] | None = None,
    depth16: str | None = None,
    **reading: object,
) -> dict:
    """Give what makes two runs of a model give the same images.

    Args:
        config: Name or file; of a file the name counts, not the folder.
        checkpoint: File or files (their SHA-256 count), or the word ``'random'``.
        cfg_options: Overrides of the config.
        tile: Height and width of windows.
        depth16: How more than 8 bits become 8.
        **reading: The other options of :func:`~mmfusion.utils.check_reading`, where they are given.
    """
    files = [Path(file) for file in files_of(checkpoint)]
    digests = [sha256_of(file) if file.is_file() else None for file in files]
    one = len(files) == 1
    settings = {
        'config': Path(config).stem,
        'checkpoint': files[0].name if one else [file.name for file in files],
        'checkpoint_sha256': digests[0] if one else digests,
        'cfg_options': cfg_options,
        'tile': tile,
        'depth16': depth16,
        **reading,
    }
    return plain(settings)


def plain(settings: Mapping) -> dict:
    """Turn settings into what a JSON file gives back: lists and text."""
    return json.loads(json.dumps(settings, default=str))


def write_record(record: str | Path, settings: Mapping, **notes: Any) -> None:
    """Write settings, and notes that need not agree, to the file ``record``."""
    content = dict(mmfusion=__version__, settings=plain(settings), **notes)
    write_bytes(record, (json_text(content, indent=2) + '\n').encode())


def read_record(record: str | Path, cure: str = '') -> dict | None:
    """Read a record: ``settings`` and notes; None without such a file.

    Raises:
        ValueError: If it cannot be read; the message ends with the ``cure``.
    """
    try:
        content = dict(json.loads(Path(record).read_text(encoding='utf-8')))
        # Older versions wrote the settings alone.
        return content if isinstance(content.get('settings'), dict) else dict(settings=content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as e:
        raise ValueError(f'{record}: cannot be read ({type(e).__name__}: {e}). {cure}') from e


def signature(files: Iterable[str | Path | None]) -> list[int]:
    """Give size and time of change of files that are there."""
    stats = [Path(file).stat() for file in files if file is not None and Path(file).exists()]
    return [value for stat in stats for value in (stat.st_size, stat.st_mtime_ns)]


def changed_sources(record: Mapping | None, sources: Mapping[str, list[int]], folder: str | Path) -> set[str]:
    """Find what was made of other files than are there now.

    The log says so.

    Args:
        record: Of :func:`read_record`; without ``sources``, as older versions wrote it, nothing is known to have changed.
        sources: Name → :func:`signature` of the files that it is made of.
        folder: What was made, for the message.
    """
    before = (record or {}).get('sources') or {}
    changed = [name for name, now in sources.items() if before.get(name, now) != now]
    if changed:
        print_log(
            f'{folder}: {len(changed)} are made again, as their source files changed since: {shorten(changed, 5)}.',
            'current',
        )
    return set(changed)


def check_record(record: str | Path, settings: Mapping, kept: Sequence[Path], cure: str) -> dict:
    """Refuse to go on beside files that were made in another way.

    ``settings`` say how files are to be made now; ``kept`` are those that stay, at least one.

    Raises:
        ValueError: If the record is missing, cannot be read, or has other settings; with what differs, and the ``cure``.
    """
    record, before = Path(record), read_record(record, cure)
    count = f'{len(kept)} files are' if len(kept) > 1 else '1 file is'
    if before is None:
        raise ValueError(
            f'{record.parent}: {count} there (such as {kept[0].name}), but no {record.name} says how they were made. {cure}'
        )
    changed = changes(before['settings'], plain(settings))
    if changed:
        raise ValueError(f'{record}: {count} there that were made with other settings: {changed}. {cure}')
    return before


def changes(old: Mapping, new: Mapping, most: int = 5) -> str:
    """Say by path which leaves of nested settings differ, if any."""
    old, new = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in {**old, **new} if old.get(key, '(nothing)') != new.get(key, '(nothing)')]
    texts = [f'{k} was {old.get(k, "(nothing)")!r}, is now {new.get(k, "(nothing)")!r}' for k in keys[:most]]
    return '; '.join(texts) + (f' and {len(keys) - most} more' if len(keys) > most else '')


def _flat(node, path=''):
    """Leaves of nested dicts and lists, as (path, value)."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f'{path}.{key}' if path else key)
    elif isinstance(node, list) and any(isinstance(value, dict | list) for value in node):
        for k, value in enumerate(node):
            yield from _flat(value, f'{path}.{k}')
    else:
        yield path, node
