"""How fused images in a folder were made, written beside them: so that two kinds are never mixed without a word."""

import hashlib
import json
from pathlib import Path

from mmfusion.utils import write_bytes

RECORD = 'fuse.json'


def model_settings(config, checkpoint, cfg_options=None, tile=None, depth16=None):
    """What makes two runs of a model give the same images.

    Args:
        config (str | Path): Name or file; of a file the name counts, not the folder.
        checkpoint (str | Path): File (its SHA-256 counts), or the word ``'random'``.
        cfg_options (dict, optional): Overrides of the config.
        tile (Sequence[int], optional): Height and width of windows.
        depth16 (str, optional): How more than 8 bits become 8.

    Returns:
        dict: As it comes back from a JSON file.
    """
    checkpoint = Path(checkpoint)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest() if checkpoint.is_file() else None
    settings = {
        'config': Path(config).stem,
        'checkpoint': checkpoint.name,
        'checkpoint_sha256': digest,
        'cfg_options': cfg_options,
        'tile': tile,
        'depth16': depth16,
    }
    return plain(settings)


def plain(settings):
    """Settings as they come back from a JSON file: tuples are lists, what JSON does not know is text."""
    return json.loads(json.dumps(settings, default=str))


def write_record(record, settings):
    """Write settings to the file ``record``."""
    write_bytes(record, (json.dumps(settings, indent=2) + '\n').encode())


def check_record(record, settings, kept):
    """Refuse to go on in a folder in which images stay that were made in another way, or by something else.

    Args:
        record (Path): The file of the settings, which need not be there.
        settings (dict): How images are to be made now.
        kept (Sequence[Path]): Images that stay.

    Raises:
        ValueError: With what differs.
    """
    cure = 'Choose another --out, or say --overwrite to fuse images of these names anew (others must be moved away).'
    if not record.is_file():
        raise ValueError(
            f'{record.parent}: {len(kept)} images are there (such as {kept[0].name}), but no {record.name} says how they '
            f'were made. {cure}'
        )
    try:
        before = dict(json.loads(record.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as e:
        raise ValueError(f'{record}: cannot be read ({e}). {cure}') from e
    changed = [
        f'{key} was {before.get(key)!r}, is now {value!r}'
        for key, value in settings.items()
        if before.get(key) != value
    ]
    if changed:
        raise ValueError(
            f'{record}: {len(kept)} images there were fused with other settings: {"; ".join(changed)}. {cure}'
        )
