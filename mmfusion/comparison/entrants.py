"""Methods and pairs as the command line names them; without torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmfusion.utils import pair_images
from mmfusion.utils.configs import config_folder, find_config, published, read_config

DEFAULT_METRICS = ('EN', 'SD', 'SF', 'AG', 'MI', 'FMI_pixel', 'CC', 'SCD', 'VIF', 'Qabf', 'SSIM', 'PSNR')
_VISIBLE, _INFRARED = ('vi', 'vis', 'visible', 'rgb'), ('ir', 'inf', 'infrared', 'thermal')


@dataclass(frozen=True)
class Entrant:
    """One method of a comparison.

    Attributes:
        name: In tables; also of its folder.
        config: Method, name or file of a config; None where the images are given.
        weights: As :class:`~mmfusion.apis.FusionInferencer` takes them; None for the published ones.
        folder: Images that were fused by other means.
    """

    name: str
    config: str | None = None
    weights: object = None
    folder: Path | None = None


@dataclass(frozen=True)
class Pairs:
    """The images of a comparison: name, visible and infrared file of each."""

    items: list[tuple[str, Path, Path]]

    @property
    def vi(self) -> dict[str, Path]:
        """Give the visible files by name."""
        return {name: vi for name, vi, _ in self.items}

    @property
    def ir(self) -> dict[str, Path]:
        """Give the infrared files by name."""
        return {name: ir for name, _, ir in self.items}


def parse_entrant(text: str) -> Entrant:
    """Read ``[NAME=]METHOD[:WEIGHTS]``, or ``NAME=DIR``, a folder of fused images.

    Raises:
        FileNotFoundError: If there is no such method or folder; near names are proposed.
        ValueError: If the name cannot be that of a folder.

    Examples:
        >>> parse_entrant('mine=occo_fmb:random').weights
        'random'
    """
    name, equals, rest = text.partition('=')
    rest = rest if equals else text
    if equals and rest and Path(rest).is_dir():
        entrant = Entrant(name, folder=Path(rest))
    else:
        # A drive letter (C:\\…) is no name of a method.
        found = re.fullmatch(r'((?:[A-Za-z]:[\\/])?[^:]+)(?::(.+))?', rest)
        if not found:
            raise ValueError(f'{text!r}: expected [NAME=]METHOD[:WEIGHTS], or NAME=DIR')
        try:
            stem = find_config(found[1]).stem
        except FileNotFoundError as e:
            raise FileNotFoundError(f'{e} It is no folder of fused images, either.' if equals else str(e)) from e
        collection = published().get(stem, {}).get('In Collection', stem)
        same = re.sub(r'[^a-z0-9]', '', found[1].lower()) == re.sub(r'[^a-z0-9]', '', collection.lower())
        entrant = Entrant(name if equals else collection if same else stem, found[1], found[2])
    check_name(entrant.name, text)
    return entrant


def parse_entrants(texts: Sequence[str]) -> list[Entrant]:
    """Read several; see :func:`parse_entrant`.

    Raises:
        ValueError: If two have one name.
    """
    entrants = [parse_entrant(text) for text in texts]
    names = [entrant.name for entrant in entrants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'two methods are called {", ".join(twice)}; give them names: NAME=METHOD')
    return entrants


def check_name(name: str, text: str) -> None:
    """Refuse names of methods that files and folders could not have.

    ``text`` is what the user gave, for the message.

    Raises:
        ValueError: If it is empty, a path, or the name of a source.
    """
    if not re.fullmatch(r'[^\s/\\:.][^/\\:]*', name) or name in ('vi', 'ir'):
        raise ValueError(f'{text!r}: {name!r} cannot be the name of a method; give another one by NAME=')


def open_data(
    data: str | Path | None = None,
    vi: str | Path | None = None,
    ir: str | Path | None = None,
    vi_pattern: str | None = None,
    ir_pattern: str | None = None,
) -> Pairs:
    """Find the pairs of images.

    Args:
        data: Name of a dataset of mmfusion (``tno``: a file of ``configs/_base_/datasets``), or a folder with a folder of
            visible and one of infrared images in it (``vi`` and ``ir``, ``visible`` and ``infrared``…).
        vi, ir: The two folders, in the place of ``data``.
        vi_pattern, ir_pattern: How names pair where they differ; see :func:`mmfusion.utils.pair_images`.

    Raises:
        ValueError: If it is none of these, or images have no counterpart.
        FileNotFoundError: If a folder is missing, or holds no image.
    """
    if (data is None) == (vi is None) or (vi is None) != (ir is None):
        raise ValueError('give the images by --data NAME or DIR, or by --vi DIR and --ir DIR')
    if data is not None and not Path(data).is_dir():
        if vi_pattern or ir_pattern:
            raise ValueError(f'--data {data}: patterns are for folders; the names of a dataset pair by themselves.')
        return _open_named(str(data))
    if data is not None:
        vi, ir = (_subfolder(Path(data), names) for names in (_VISIBLE, _INFRARED))
    return Pairs(pair_images(vi, ir, vi_pattern, ir_pattern))


def _subfolder(folder: Path, names: Sequence[str]) -> Path:
    inside = sorted(sub for sub in folder.iterdir() if sub.is_dir())
    found = [sub for sub in inside if sub.name.lower() in names]
    if len(found) != 1:
        raise ValueError(
            f'{folder}: expected one folder called {" or ".join(names)} in it, found '
            f'{", ".join(sub.name for sub in inside) or "no folders"}. Give the two by --vi DIR --ir DIR.'
        )
    return found[0]


def _open_named(name: str) -> Pairs:
    """The test images of a dataset that the configs know."""
    folder = config_folder() / '_base_' / 'datasets'
    file = folder / f'{name}.py'
    if not file.is_file():
        known = sorted(f.stem for f in folder.glob('*.py') if 'test_dataloader' in f.read_text(encoding='utf-8'))
        raise ValueError(f'--data {name}: neither a folder nor one of {", ".join(known)}')
    cfg = read_config(file)
    if 'test_dataloader' not in cfg:
        raise ValueError(f'--data {name}: {file.name} has no images for tests')
    from mmengine.registry import DefaultScope

    from mmfusion.registry import DATASETS

    with DefaultScope.overwrite_default_scope('mmfusion'):
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, pipeline=[], lazy_init=False))
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    pairs = [
        (d['img_id'], Path(d['img_path']), Path(d['ir_path'])) for d in items if Path(d.get('ir_path', '')).is_file()
    ]
    if not pairs or len(pairs) < len(items):
        raise ValueError(f'--data {name}: its pairs are not files; give two folders by --vi DIR --ir DIR')
    return Pairs(pairs)
