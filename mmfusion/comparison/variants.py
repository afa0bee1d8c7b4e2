"""Variants of a cascade: what its task model gets to see."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from .entrants import parse_entrant

KINDS = {
    'visible': 'visible, the visible image alone',
    'infrared': 'infrared, the infrared image alone, grey',
    'average': 'average, the mean of both',
    'joint': "joint, the config as it is; joint:CHECKPOINT, with a fuser's checkpoint to start from",
    'frozen': 'frozen:CHECKPOINT, the fuser of the config, not trained',
    'folder': 'folder:DIR, images fused beforehand',
    'method': 'method:METHOD[:WEIGHTS], images of another method, which are fused first',
}
SINGLES = ('visible', 'infrared')


@dataclass(frozen=True)
class Variant:
    """What a task model gets to see.

    Attributes:
        name (str): In tables, and of its folder.
        kind (str): One of :data:`KINDS`.
        source (str | None): A checkpoint (absolute, or a URL), a folder (absolute), or a method with or without weights.
    """

    name: str
    kind: str
    source: str | None = None

    @property
    def record(self):
        """dict: What tells two variants of one name apart: contents, not places."""
        if self.source is None or '://' in self.source or self.kind == 'method':
            return dict(kind=self.kind, source=self.source)
        path = Path(self.source)
        if self.kind != 'folder':
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return dict(kind=self.kind, source=path.name, sha256=digest)
        files = sorted((str(f.relative_to(path)), f.stat().st_size) for f in path.rglob('*') if f.is_file())
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        return dict(kind=self.kind, source=path.name, names_and_sizes_sha256=digest)


def parse_variant(text):
    """Read ``[NAME=]KIND[:SOURCE]``, such as ``visible`` or ``OCCO=frozen:occo.pth``.

    Raises:
        ValueError: If the kind is unknown (those known are listed), the name is no name of a folder, or a source is missing
            or not wanted.
        FileNotFoundError: If there is no such checkpoint or folder.
    """
    name, sep, spec = text.partition('=')
    if not sep or ':' in name:  # the '=' of a path
        name, spec = '', text
    kind, _, source = spec.partition(':')
    if kind not in KINDS:
        raise ValueError(f'unknown variant {kind!r} in {text!r}. Known are: {"; ".join(KINDS.values())}.')
    if kind == 'method':
        entrant = parse_entrant(f'{name}={source}' if name else source)  # refuses a method that is not there
        if not entrant.config:
            raise ValueError(f'{text!r}: {source} is a folder; write {name}=folder:{source}')
        name = entrant.name
    name = name or kind
    if not re.fullmatch(r'\w[\w.+-]*', name):
        raise ValueError(f'{text!r}: {name!r} is to be the name of a folder: use letters, digits and _ . + -')
    if source and kind not in ('joint', 'frozen', 'folder', 'method'):
        raise ValueError(f'{text!r}: {kind} takes nothing after a colon, got {source!r}')
    if kind == 'folder':
        if not source:
            raise ValueError(f'{text!r}: expected {KINDS[kind]}')
        if not Path(source).is_dir():
            raise FileNotFoundError(f'{text!r}: {source} is no folder. Fuse the images by mmfusion fuse first.')
    elif source and kind != 'method' and '://' not in source and not Path(source).is_file():
        raise FileNotFoundError(f'{text!r}: no such checkpoint: {source}')
    if source and kind != 'method' and '://' not in source:
        source = str(Path(source).resolve())
    return Variant(name, kind, source or None)
