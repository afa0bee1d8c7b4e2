"""Results of a downstream comparison: tables, a plot, and a verdict."""

import csv
import io
import math
import statistics
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from mmfusion.evaluation import METRIC_SPECS
from mmfusion.evaluation.report import rank
from mmfusion.utils import write_bytes
from mmfusion.utils.tables import Table
from mmfusion.utils.text import json_text, to_bytes
from mmfusion.version import __version__

from .variants import SINGLES

_TITLES = {'mAP50': 'mAP@.5', 'mAP': 'mAP@.5:.95'}
_FAMILIES = {'IoU': 'IoU', 'AP50': 'AP@.5', 'AP': 'AP@.5:.95'}


@dataclass
class Comparison:
    """Values of variants over seeds.

    Attributes:
        kinds (dict[str, str]): Variant → what kind it is (:data:`mmfusion.comparison.variants.KINDS`), in the order of rows.
        values (dict[str, dict[int, dict[str, float]]]): Variant → seed → metric → value. Cells without result are absent.
        columns (list[str]): Metrics, in the order of columns; the last one decides.
        seeds (list[int]): Those asked for.
    """

    kinds: dict
    values: dict
    columns: list = field(default_factory=list)
    seeds: list = field(default_factory=list)

    def of(self, variant, metric):
        """List the values over seeds that are defined."""
        found = (cell.get(metric, math.nan) for cell in self.values.get(variant, {}).values())
        return [value for value in found if not math.isnan(value)]

    def mean(self, variant, metric):
        """Average over seeds; NaN without value."""
        found = self.of(variant, metric)
        return statistics.fmean(found) if found else math.nan

    def spread(self, variant, metric):
        """Compute the deviation over seeds (n − 1); NaN below two values."""
        found = self.of(variant, metric)
        return statistics.stdev(found) if len(found) > 1 else math.nan

    def gains(self, variant, single, metric):
        """Give a variant's lead over another, for each common seed."""
        ours, theirs = self.values.get(variant, {}), self.values.get(single, {})
        found = (ours[s].get(metric, math.nan) - theirs[s].get(metric, math.nan) for s in ours if s in theirs)
        return [value for value in found if not math.isnan(value)]

    def ranks(self, metric):
        """Rank variants by the mean, from 1; None where all are equal."""
        higher = METRIC_SPECS[metric.removeprefix('fusion/')].higher_is_better if metric.startswith('fusion/') else True
        means = [self.mean(v, metric) for v in self.kinds]
        places = rank(means, higher) if len(set(means)) > 1 else [None] * len(means)
        return dict(zip(self.kinds, places, strict=True))


def choose_columns(patterns, values):
    """Choose the metrics that match names or patterns such as ``'IoU/*'``.

    Raises:
        ValueError: If nothing matches a pattern; the metrics that there are, are listed.
    """
    known = list(dict.fromkeys(name for cells in values.values() for cell in cells.values() for name in cell))
    columns = []
    for pattern in patterns:
        found = [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(f'no metric {pattern!r} among the results; they have {", ".join(known) or "none"}')
        columns += [name for name in found if name not in columns]
    return columns


def titles(columns):
    """Headings: the class alone where all classes are of one metric."""
    families = {name.partition('/')[0] for name in columns if '/' in name}
    return [
        _TITLES.get(name) or (name.partition('/')[2] if len(families) == 1 and '/' in name else _long(name))
        for name in columns
    ]


def _long(name):
    family, sep, label = name.partition('/')
    return f'{_FAMILIES.get(family, family)}{" " if sep else ""}{label}'


def caption(comparison):
    """Say in words what the table shows."""
    families = dict.fromkeys(_FAMILIES.get(n.partition('/')[0], '') for n in comparison.columns if '/' in n)
    by_class = ' and '.join(f for f in families if f)
    parts = [f'{by_class} of each class' if by_class else ', '.join(titles(comparison.columns))]
    if not all(name.startswith('fusion/') for name in comparison.columns):
        parts.append('percent')
    most = max(len(cells) for cells in comparison.values.values())
    parts.append('one seed, no spread' if most == 1 else f'mean ± standard deviation over {most} seeds')
    return ', '.join(parts)


def notes(comparison):
    """List what the means leave out: missing cells and undefined values."""
    lines = []
    for variant in comparison.kinds:
        cells = comparison.values.get(variant, {})
        absent = [seed for seed in comparison.seeds if seed not in cells]
        if absent:
            lines.append(f'{variant}: without seed {", ".join(map(str, absent))}, of which there is no result')
        for metric in comparison.columns:
            undefined = [seed for seed, cell in cells.items() if math.isnan(cell.get(metric, math.nan))]
            if undefined:
                lines.append(f'{variant}, {metric}: not defined for seed {", ".join(map(str, undefined))}')
    return lines


def cell_text(comparison, variant, metric):
    """Write ``mean ± spread``, the mean alone, or – for nothing."""
    mean, spread = comparison.mean(variant, metric), comparison.spread(variant, metric)
    digits = 4 if metric.startswith('fusion/') else 2
    if math.isnan(mean):
        return '–'
    return f'{mean:.{digits}f}' + ('' if math.isnan(spread) else f' ± {spread:.{digits}f}')


def table_of(comparison):
    """Make the table of means and spreads, one row a variant."""
    ranks = [comparison.ranks(metric) for metric in comparison.columns]
    rows = [[v, *(cell_text(comparison, v, metric) for metric in comparison.columns)] for v in comparison.kinds]
    places = [[places[v] for places in ranks] for v in comparison.kinds]
    return Table(['Input', *titles(comparison.columns)], rows, places, caption(comparison), tuple(notes(comparison)))


def verdict(comparison):
    """Say whether fusion helps, by the last column, a sentence a variant.

    Seeds fix order, augmentation and first weights in all variants alike, so that the difference to a single modality is
    taken seed by seed. It counts where its mean is larger than its standard deviation over the seeds (n − 1).
    """
    metric = comparison.columns[-1]
    title = titles([metric])[0]
    singles = [v for kind in SINGLES for v, k in comparison.kinds.items() if k == kind]
    fused = [v for v, kind in comparison.kinds.items() if kind not in SINGLES]
    if {comparison.kinds[v] for v in singles} != set(SINGLES):
        return [f'{title}: without visible and infrared among the variants nothing is said about the gain of fusion.']
    return [_sentence(comparison, variant, singles, metric, title) for variant in fused]


def _sentence(comparison, variant, singles, metric, title):
    gains = {single: comparison.gains(variant, single, metric) for single in singles}
    incomplete = [v for v in (variant, *singles) if not comparison.of(v, metric)]
    if incomplete:
        return f'{title} of {variant}: cannot be compared, there is no value of {", ".join(incomplete)}.'
    if not all(gains.values()):
        return f'{title} of {variant}: cannot be compared, it has no seed in common with both single modalities.'
    margins = {v: statistics.fmean(found) for v, found in gains.items()}
    spreads = {v: statistics.stdev(found) if len(found) > 1 else math.nan for v, found in gains.items()}
    parts = []
    for single, margin in margins.items():
        spread = '' if math.isnan(spreads[single]) else f' ± {spreads[single]:.2f}'
        parts.append(f'{single} by {margin:+.2f}{spread}')
    mean = cell_text(comparison, variant, metric)
    text = f'{title} of {variant} ({mean}) differs, seed by seed, from {" and from ".join(parts)}: '
    if min(margins.values()) <= 0:
        return text + 'it does NOT beat both single modalities.'
    if any(math.isnan(spread) for spread in spreads.values()):
        return text + 'it is above both single modalities, but a single seed has no spread: repeat with more seeds.'
    if all(margins[v] > spreads[v] for v in singles):
        return text + 'it beats both single modalities by more than the spread.'
    return text + 'it is above both single modalities, but NOT by more than the spread.'


def to_csv(comparison):
    """Write counts of seeds, means and standard deviations, a line a variant."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(['input', 'seeds', *(f'{name} {what}' for name in comparison.columns for what in ('mean', 'std'))])
    for variant in comparison.kinds:
        row = [variant, len(comparison.values.get(variant, {}))]
        for metric in comparison.columns:
            values = comparison.mean(variant, metric), comparison.spread(variant, metric)
            row += ['' if math.isnan(value) else repr(value) for value in values]
        writer.writerow(row)
    return buffer.getvalue()


def as_dict(comparison):
    """Give means, spreads and each cell's values for JSON (NaN is ``null``)."""

    def plain(value):
        return None if isinstance(value, float) and math.isnan(value) else value

    return dict(
        mmfusion=__version__,
        columns=comparison.columns,
        seeds=comparison.seeds,
        variants={
            variant: dict(
                kind=kind,
                mean={name: plain(comparison.mean(variant, name)) for name in comparison.columns},
                std={name: plain(comparison.spread(variant, name)) for name in comparison.columns},
                cells={
                    str(seed): {name: plain(value) for name, value in cell.items()}
                    for seed, cell in comparison.values.get(variant, {}).items()
                },
            )
            for variant, kind in comparison.kinds.items()
        },
        notes=notes(comparison),
        verdict=verdict(comparison),
    )


def plot(comparison):
    """Plot each column's means with standard deviations as bars; PNG as bytes."""
    from matplotlib.figure import Figure

    columns, variants = comparison.columns, list(comparison.kinds)
    figure = Figure(figsize=(max(5.0, 1 + 0.25 * len(columns) * (len(variants) + 1)), 4.2), layout='constrained')
    axes = figure.subplots()
    width = 0.85 / len(variants)
    for k, variant in enumerate(variants):
        places = [i + (k - (len(variants) - 1) / 2) * width for i in range(len(columns))]
        heights = [comparison.mean(variant, name) for name in columns]
        errors = [0 if math.isnan(s) else s for s in (comparison.spread(variant, name) for name in columns)]
        axes.bar(places, heights, width, yerr=errors if any(errors) else None, capsize=2, label=variant)
    axes.set_xticks(range(len(columns)), titles(columns), rotation=30, ha='right')
    axes.set_title(caption(comparison), fontsize='small')
    axes.set_axisbelow(True)
    axes.grid(axis='y', alpha=0.4)
    axes.legend(fontsize='small', ncols=min(len(variants), 5), loc='upper center', bbox_to_anchor=(0.5, -0.25))
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=150)
    return buffer.getvalue()


def write_files(comparison, out):
    """Write ``table.{md,tex,csv}``, ``results.json`` and ``plot.png``; list them."""
    table = table_of(comparison)
    contents = {
        'table.md': '\n\n'.join([table.caption, table.markdown(), *verdict(comparison)]) + '\n',
        'table.tex': table.latex('tab:downstream') + '\n',
        'table.csv': to_csv(comparison),
        'results.json': json_text(as_dict(comparison), indent=1) + '\n',
    }
    files = {Path(out, name): to_bytes(text) for name, text in contents.items()}
    files[Path(out, 'plot.png')] = plot(comparison)
    for file, content in files.items():
        write_bytes(file, content)
    return list(files)
