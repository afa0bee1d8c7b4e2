"""Finding the images of folders, and pairing them by their names."""

import os
import re
import string
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from .arrays import FOUR
from .decoding import IMG_SUFFIXES
from .text import composed

# Characters that set the parts of a file's name apart.
_SEPARATORS = r'_\-. /'
_NOTICED = set()


class NamePattern:
    """Find the name that images share in the names of their files.

    ``'{name}_VIS'`` finds ``scene1`` in ``scene1_VIS.png``. Each ``{word}`` stands for one character or more; several are
    joined by ``_``, or by ``/`` where a folder stands between: ``'{name}/visible/{frame}'`` finds ``set00/I01`` in
    ``set00/visible/I01.jpg``.

    Args:
        text: The pattern, of paths below a folder, without suffix.

    Raises:
        ValueError: If it has no ``{name}``, one word twice, or an open brace.

    Examples:
        >>> NamePattern('{name}_VIS')('scene1_VIS')
        'scene1'
        >>> NamePattern('{name}_VIS')('scene1_IR') is None
        True
    """

    def __init__(self, text: str) -> None:
        self.text = str(text)
        try:
            parts = list(string.Formatter().parse(self.text))
        except ValueError as e:
            raise self._refuse(str(e)) from e
        words = [word for _, word, *_ in parts if word is not None]
        if not words or not all(map(str.isidentifier, words)) or len(set(words)) < len(words):
            raise self._refuse(f'it has the words {", ".join(map(repr, words))}' if words else 'it has no {name}')
        if PurePosixPath(self.text).suffix.lower() in IMG_SUFFIXES:
            raise self._refuse(f'it ends in {PurePosixPath(self.text).suffix}')
        literals = [literal for literal, *_ in parts]
        fields = [f'(?P<{word}>.+?)' if word is not None else '' for _, word, *_ in parts]
        self._expression = re.compile(''.join(map(''.join, zip(map(re.escape, literals), fields, strict=True))))
        self._joints = ['/' if '/' in literal else '_' for literal in literals[1:]]

    def _refuse(self, found):
        return ValueError(
            f"pattern {self.text!r}: {found}; expected the files' names without suffix, with {{name}} for what a pair has "
            "in common, such as '{name}_VIS'."
        )

    def __call__(self, stem: str) -> str | None:
        """Give the name in a path without suffix; None where none fits."""
        found = self._expression.fullmatch(stem)
        if not found:
            return None
        first, *others = found.groups()
        return first + ''.join(f'{joint}{other}' for joint, other in zip(self._joints, others, strict=False))


def natural_key(name: object) -> tuple:
    """Key by which names are sorted as people count: frame2 before frame10."""
    parts = re.split(r'(\d+)', str(name))
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], str(name)


def list_images(folder: str | Path, pattern: str | None = None) -> dict[str, Path]:
    """Find the images of a folder by name, in natural order.

    Args:
        folder: Those directly in it are found; where there are none, or with a pattern, those of all its subfolders.
        pattern: What names are made of (:class:`NamePattern`); images that it does not fit are left out.

    Returns:
        Path below the folder without suffix, or what the pattern finds in it → file.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If two images have one name, so that a pair would be ambiguous, or the pattern fits no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: {"not a folder" if folder.exists() else "no such folder"}')
    name_of = NamePattern(pattern) if pattern else str
    files = [] if pattern else _images_in(folder)
    if files:
        _warn_of_subfolders(folder)
    else:
        files = images_below(folder)
    found = {}
    for file in files:
        name = name_of(stem_below(folder, file))
        if name in found:
            raise ValueError(
                f'{folder}: {found[name].relative_to(folder)} and {file.relative_to(folder)} share the '
                f'{"name" if pattern else "stem"} {name!r}, by which images are paired. Remove one of them.'
            )
        if name is not None:
            found[name] = file
    if files and not found:
        raise ValueError(
            f'{folder}: the pattern {pattern!r} fits none of its {len(files)} images, such as '
            f'{shorten((stem_below(folder, file) for file in files), 3)}.'
        )
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def images_below(folder: str | Path) -> list[Path]:
    """Find all images of a folder, if any, and its subfolders."""
    return [file for sub in _subfolders(folder) for file in _images_in(sub)]


def stem_below(folder: str | Path, file: Path) -> str:
    """Give a file's path below a folder, without suffix, composed."""
    return composed(file.relative_to(folder).with_suffix('').as_posix())


def _images_in(folder):
    """Images directly in a folder."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMG_SUFFIXES and not file.name.startswith('.'))
    return sorted((file for file in files if not file.is_dir()), key=lambda file: natural_key(file.name))


def _subfolders(folder):
    """A folder and all below it, not hidden; links once."""
    seen = set()
    for path, names, _ in os.walk(folder, followlinks=True):
        if os.path.realpath(path) in seen:
            names.clear()
            continue
        seen.add(os.path.realpath(path))
        names[:] = sorted((name for name in names if not name.startswith('.')), key=natural_key)
        yield Path(path)


def _warn_of_subfolders(folder):
    """Say once that images of subfolders are left out."""
    if folder in _NOTICED:
        return
    _NOTICED.add(folder)
    skipped = [sub.relative_to(folder) for sub in _subfolders(folder) if sub != folder and _images_in(sub)]
    if skipped:
        warnings.warn(
            f'{folder}: images of its subfolders ({shorten(skipped, 3)}) are left out, as there are images beside them. '
            "Name a subfolder, or a pattern ('{name}') that takes all.",
            stacklevel=4,
        )


def pair_images(
    vi_dir: str | Path,
    ir_dir: str | Path | None = None,
    vi_pattern: str | None = None,
    ir_pattern: str | None = None,
    allow_missing: bool = False,
) -> list[tuple[str, Path, Path]]:
    """Pair the images of two folders by name, in natural order.

    Args:
        vi_dir, ir_dir: Folders of visible and of infrared images; without ``ir_dir``, one folder of files whose four
            channels are R, G, B and thermal. One folder for both needs two patterns.
        vi_pattern, ir_pattern: Where the names differ: see :class:`NamePattern`.
        allow_missing: Leave out images without a counterpart, as long as one has one.

    Returns:
        Name, as :func:`list_images` gives it, visible file, infrared file (the same one, for four channels) of each.

    Raises:
        FileNotFoundError: If a folder does not exist, or holds no image.
        ValueError: If images have no counterpart, by name and with the patterns that would pair them; or one folder is
            given for both.
    """
    if ir_dir is None:
        found = list_images(vi_dir, vi_pattern)
        refuse_empty((found, vi_dir, None))
        return [(stem, file, file) for stem, file in found.items()]
    vi, ir = list_images(vi_dir, vi_pattern), list_images(ir_dir, ir_pattern)
    if not vi and not ir:
        raise FileNotFoundError(
            f'{vi_dir} and {ir_dir}: no image ({", ".join(IMG_SUFFIXES)}) in either folder{other_files(vi_dir, ir_dir)}'
        )
    refuse_empty((vi, vi_dir, vi_pattern), (ir, ir_dir, ir_pattern))
    if vi_pattern == ir_pattern:
        refuse_same(vi_dir, ir_dir)
    if allow_missing and not vi.keys().isdisjoint(ir):
        return [(stem, file, ir[stem]) for stem, file in vi.items() if stem in ir]
    unpaired = []
    for here, there, here_dir, there_dir in ((vi, ir, vi_dir, ir_dir), (ir, vi, ir_dir, vi_dir)):
        names = [stem for stem in here if stem not in there]
        if names:
            unpaired.append(
                f'{len(names)} image(s) of {here_dir} have no counterpart in {there_dir}: {shorten(names, 10)}'
                + other_files(there_dir)
            )
    if unpaired:
        raise ValueError(
            '; '.join(unpaired)
            + '. Visible and infrared images are paired by file name without suffix.'
            + pattern_advice((vi_dir, vi_pattern), (ir_dir, ir_pattern))
        )
    return [(stem, vi[stem], ir[stem]) for stem in vi]


def refuse_empty(*sides: tuple[Mapping, str | Path, str | None]) -> None:
    """Refuse a folder without images, unless a pattern may be the reason.

    Each side is what was found, the folder and the pattern that was given.

    Raises:
        FileNotFoundError: If nothing was found in a folder, and no pattern was given.
    """
    for found, folder, pattern in sides:
        if not found and not pattern:
            raise FileNotFoundError(
                f'{folder}: no image ({", ".join(IMG_SUFFIXES)}) in this folder{other_files(folder)}'
            )


def pattern_advice(vi: tuple, ir: tuple, options: Sequence[str] = ('--vi-pattern', '--ir-pattern')) -> str:
    """Advise patterns by which two folders' images would pair, if any.

    ``vi`` and ``ir`` are a folder and the pattern that was given; ``options`` set the patterns.
    """
    if vi[1] or ir[1]:
        return ''
    vi, ir = list_images(vi[0]), list_images(ir[0])
    patterns = propose_patterns(vi, ir)
    if not patterns:
        return ''
    count = len({*map(NamePattern(patterns[0]), vi)} & {*map(NamePattern(patterns[1]), ir)} - {None})
    given = ' '.join(f"{option} '{p}'" for option, p in zip(options, patterns, strict=True) if p != '{name}')
    python = ', '.join(option.lstrip('-').replace('-', '_') for option in options)
    return f' {given} would pair {count} of them (in Python {python}).'


def propose_patterns(vi: Iterable[str], ir: Iterable[str]) -> tuple[str, str] | None:
    """Find two patterns by which more names of two folders pair.

    None where no two pair half of them.

    Examples:
        >>> propose_patterns(['a_VIS', 'b_VIS'], ['a_IR', 'b_IR'])
        ('{name}_VIS', '{name}_IR')
    """
    vi, ir = list(vi)[:2000], list(ir)[:2000]
    candidates = {}
    for v in vi[:3]:
        near = sorted(ir, key=lambda r: -len(_common_start(v, r)) - len(_common_end(v, r)))
        candidates |= dict.fromkeys(_candidates(v, near[:20]))
    scores = {
        patterns: len({*map(NamePattern(patterns[0]), vi)} & {*map(NamePattern(patterns[1]), ir)} - {None})
        for patterns in candidates
    }
    best = max(scores, key=scores.get, default=None)
    least = max(len(set(vi) & set(ir)) + 1, min(len(vi), len(ir)) / 2)
    return best if best and scores[best] >= least else None


def _common_start(a, b):
    return a[: next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))]


def _common_end(a, b):
    return _common_start(a[::-1], b[::-1])[::-1]


def _candidates(v, others):
    """Pairs of patterns from what two names have in common."""
    for r in others:
        start = _common_start(v, r)
        end = _common_end(v[len(start) :], r[len(start) :])
        if v == r or not start + end:
            continue
        if start and end:  # whole words differ, with the separators around them
            words = re.match(rf'(.+(?=[{_SEPARATORS}]))?', start), re.search(rf'((?<=[{_SEPARATORS}]).+)?$', end)
            start, end = (found.group() for found in words)
        elif start[1:] and start[-1] in _SEPARATORS:
            start = start[:-1]
        elif end[1:] and end[0] in _SEPARATORS:
            end = end[1:]
        fixed = [x[len(start) : len(x) - len(end)].replace('{', '{{').replace('}', '}}') for x in (v, r)]
        words = ['{name}' if start else '', ('{frame}' if start else '{name}') if end else '']
        letters = any(character.isalpha() for x in fixed for character in x)
        if letters and any(words) and (all(fixed) or not all(words)):
            yield tuple(f'{words[0]}{x}{words[1]}' for x in fixed)


def with_prefix(prefix: str, name: str) -> str:
    """Put a prefix before the last part of a name with folders."""
    folder, slash, last = name.rpartition('/')
    return f'{folder}{slash}{prefix}{last}'


def shorten(names: Iterable[object], most: int = 20) -> str:
    """Join names for a message, no more than ``most`` of them."""
    names = list(names)
    return ', '.join(map(str, names[:most])) + (f' and {len(names) - most} more' if len(names) > most else '')


def other_files(*folders: str | Path) -> str:
    """Name files that no reader knows, for messages about missing images."""
    files = [file for folder in folders for file in Path(folder).iterdir() if not file.name.startswith('.')]
    looked = 'which are not looked into' if any(_images_in(Path(folder)) for folder in folders) else 'without images'
    folders = sorted(file.name for file in files if file.is_dir())
    suffixes = sorted({f.suffix for f in files if f.is_file() and f.suffix.lower() not in IMG_SUFFIXES})
    parts = [f'files of another suffix ({shorten(suffixes, 5)})'] * bool(suffixes)
    parts += [f'folders, {looked} ({shorten(folders, 5)})'] * bool(folders)
    return f' (there are {" and ".join(parts)})' if parts else ''


def refuse_same(vi: str | Path, ir: str | Path) -> None:
    """Refuse, by a ``ValueError``, one file or folder for both images."""
    vi, ir = Path(vi), Path(ir)
    if str(vi) == str(ir) or (vi.exists() and ir.exists() and vi.samefile(ir)):
        raise ValueError(
            f'{vi}: given as the visible and as the infrared image{"s" if vi.is_dir() else ""}, which would fuse each image '
            f'with itself; expected two.{FOUR}'
            + (' Both in one folder are told apart by --vi-pattern and --ir-pattern.' if vi.is_dir() else '')
        )


def refuse_overwriting(target: str | Path, *sources: str | Path | None) -> None:
    """Refuse, by a ``ValueError``, to write over a source."""
    for source in filter(None, sources):
        if Path(target).resolve() == Path(source).resolve():
            raise ValueError(f'{target}: would overwrite its source. Choose another name for what is written.')
