"""Variants of one cascade config, trained and tested cell by cell.

A *variant* is the config with another fuser in front of the task model; a *cell* is a variant with a seed. Each cell runs
in a process of its own, by ``mmfusion train``, and leaves a ``result.json``. See docs/cascades.md.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .variants import Variant

# Columns of the table, by the part of the cascade that is the task model.
DEFAULT_METRICS = dict(segmentor=['IoU/*', 'mIoU'], detector=['AP50/*', 'mAP50', 'mAP'])
ZERO_SHOT_METRICS = dict(
    segmentor=['IoU/*', 'day/mIoU', 'night/mIoU', 'mIoU'], detector=['AP50/*', 'day/mAP50', 'night/mAP50', 'mAP50']
)
RECORD, METRICS_FILE = 'downstream.json', 'metrics.json'
# Of a config: what says where a run is and goes on, not what is computed.
_PLACES = ('work_dir', 'resume', 'launcher', 'randomness')


class CellError(RuntimeError):
    """A cell has no result; the message says why."""


@dataclass(frozen=True)
class Cell:
    """A variant with a seed, in a folder of its own."""

    variant: Variant
    seed: int
    folder: Path

    def __str__(self):
        return f'{self.variant.name}, seed {self.seed}'

    @property
    def file(self):
        """Give the path of the result."""
        return self.folder / 'result.json'

    @property
    def begun(self):
        """Tell whether other settings would make something here wrong."""
        return self.file.is_file() or (self.folder / 'train' / 'last_checkpoint').is_file()

    def result(self):
        """Read metric → value; None without result."""
        if not self.file.is_file():
            return None
        try:
            metrics = dict(json.loads(self.file.read_bytes())['metrics'])
        except (ValueError, TypeError, KeyError) as e:
            raise ValueError(
                f'{self.file}: not a result of mmfusion downstream ({type(e).__name__}: {e}). Remove it, and its cell is '
                'tested again.'
            ) from e
        return {name: math.nan if value is None else value for name, value in metrics.items()}


def open_folder(out, base, config_name, variants, seeds, weights='last'):
    """Open a comparison's folder, and refuse settings other than those recorded.

    Variants and seeds may be added to a folder. Cells are given seed by seed, so that early results are of all variants;
    ``weights`` (``'last'`` or ``'best'``) says which checkpoint of a training is tested.

    Raises:
        ValueError: If the folder has cells of another config, or a variant of the same name that is another.
    """
    from mmfusion.utils.run_record import changes, plain, read_record, write_record

    out = Path(out)
    config = {k: v for k, v in base.to_dict().items() if k not in _PLACES}
    config['randomness'] = {k: v for k, v in (base.get('randomness') or {}).items() if k != 'seed'}
    settings = plain(dict(config=config, weights=weights, variants={v.name: v.record for v in variants}))
    cure = 'Choose another --out, or remove that folder.'
    before = read_record(out / RECORD, cure)
    if before is None and (out / 'cells').is_dir():
        raise ValueError(f'{out}: has cells, but no {RECORD} says what of. {cure}')
    begun = {folder.parent.name for folder in out.glob('cells/*/seed_*') if Cell(None, 0, folder).begun}
    if begun:
        old = dict(before['settings'])
        kept = {name: v for name, v in old['variants'].items() if name in begun}
        new = dict(settings, variants={name: settings['variants'].get(name, kept[name]) for name in kept})
        changed = changes(dict(old, variants=kept), new)
        if changed:
            raise ValueError(
                f'{out}: has results of other settings: {changed}. Their numbers must not stand in one table. {cure}'
            )
        settings['variants'] = old['variants'] | settings['variants']
    write_record(out / RECORD, settings, config_name=config_name)
    return [Cell(v, seed, out / 'cells' / v.name / f'seed_{seed}') for seed in seeds for v in variants]


def named_metrics(values):
    """Rename a test's results as tables do, detection in percent.

    Names are ``mIoU``, ``IoU/<class>``, …; ``mAP`` (of IoU .5 to .95), ``mAP50``, ``AP/<class>``, ``AP50/<class>``; others
    as they are. None is what is not defined; so is COCO's −1 (nothing to find).
    """
    out = {}
    for key, value in values.items():
        coco, name = key.startswith('coco/'), key.removeprefix('coco/')
        if not coco:
            out[key] = value
            continue
        group, slash, name = name.rpartition('/')
        for end, family in (('_precision_50', 'AP50/'), ('_precision', 'AP/')):
            if name.endswith(end):
                name = family + name.removesuffix(end)
        name = group + slash + {'bbox_mAP_50': 'mAP50'}.get(name, name.removeprefix('bbox_'))
        out[name] = 100 * value if value is not None and value >= 0 else None
    return out
