"""Tables of means with best values marked, ranks, and a day–night split."""

import math
import re
from collections.abc import Sequence

from mmfusion.utils.tables import Table

from ..specs import METRIC_SPECS
from .folders import Results


def rank(values: Sequence[float], higher_is_better: bool) -> list[int | None]:
    """Rank methods' values from 1 (best); equals share a rank, NaN has none.

    Examples:
        >>> rank([0.5, 0.7, 0.7, float('nan')], True)
        [3, 1, 1, None]
    """
    sign = -1 if higher_is_better else 1
    defined = [sign * v for v in values if not math.isnan(v)]
    return [None if math.isnan(v) else 1 + sum(other < sign * v for other in defined) for v in values]


def summarize(results: Results, images: Sequence[str] | None = None) -> dict[str, dict]:
    """Compute means, ranks and mean ranks of results, or of some images.

    Returns:
        ``means`` and ``ranks`` (method → metric → value), ``mean_rank`` (method → mean over the metrics that rank
        it), ``undefined`` (method → metric → {image: reason}).
    """
    means = {m: {n: results.mean(m, n, images) for n in results.metrics} for m in results.methods}
    ranks = {m: {} for m in results.methods}
    for name in results.metrics:
        column = rank([means[m][name] for m in results.methods], METRIC_SPECS[name].higher_is_better)
        for method, place in zip(results.methods, column, strict=True):
            ranks[method][name] = place
    mean_rank = {}
    for method in results.methods:
        places = [p for p in ranks[method].values() if p is not None]
        mean_rank[method] = sum(places) / len(places) if places else math.nan
    undefined = {m: {n: results.undefined(m, n, images) for n in results.metrics} for m in results.methods}
    return dict(means=means, ranks=ranks, mean_rank=mean_rank, undefined=undefined)


_NIGHT = re.compile(r'(?:^\d+N$)|(?:\bnight\b)|(?:_n(?:ight)?$)', re.IGNORECASE)
_DAY = re.compile(r'(?:^\d+D$)|(?:\bday\b)|(?:_d(?:ay)?$)', re.IGNORECASE)


def split_day_night(images: Sequence[str]) -> dict[str, list[str]]:
    """Split MSRS's names (``00004N``, ``00131D``; also ``…_night``, ``…_day``) by day and night.

    Examples:
        >>> split_day_night(['00004N', '00131D'])
        {'day': ['00131D'], 'night': ['00004N']}
        >>> split_day_night(['01', '02'])  # not every name says which
        {}
    """
    day, night = [i for i in images if _DAY.search(i)], [i for i in images if _NIGHT.search(i)]
    return dict(day=day, night=night) if len(day) + len(night) == len(images) and day and night else {}


def format_value(value: float, digits: int = 4) -> str:
    """Format a value for a table's cell, by significant digits without exponent."""
    if math.isnan(value):
        return '–'
    if math.isinf(value):
        return '∞' if value > 0 else '−∞'
    if value == 0:
        return '0'
    decimals = min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return f'{value:.{decimals}f}'


def notes(results: Results, summary: dict[str, dict]) -> list[str]:
    """List the means that leave images out, with number and reasons."""
    lines = []
    for method in results.methods:
        for name in results.metrics:
            left_out = summary['undefined'][method][name]
            if left_out:
                reasons = '; '.join(sorted(set(left_out.values())))
                lines.append(f'{method}, {name}: without {len(left_out)} image(s) ({reasons})')
    return lines


def table_of(results: Results, summary: dict[str, dict] | None = None, digits: int = 4) -> Table:
    """Make the table of means, one row a method, with mean ranks.

    ``summary`` is :func:`summarize`'s, where it is of some of the images; ``digits`` are significant ones.
    """
    summary = summary or summarize(results)
    rows, places = [], []
    of_ranks = rank([summary['mean_rank'][method] for method in results.methods], higher_is_better=False)
    for method, of_rank in zip(results.methods, of_ranks, strict=True):
        means, undefined, ranks = (summary[key][method] for key in ('means', 'undefined', 'ranks'))
        values = [format_value(means[name], digits) + ('†' if undefined[name] else '') for name in results.metrics]
        rows.append([method, *values, format_value(summary['mean_rank'][method], 3)])
        marks = [*(ranks[name] for name in results.metrics), of_rank]
        places.append(marks if len(results.methods) > 1 else [None] * len(marks))
    head = ['Method', *(f'{name} {METRIC_SPECS[name].arrow}' for name in results.metrics), 'Rank ↓']
    caption = f'{len(results.images)} images, protocol {results.protocol}'
    return Table(head, rows, places, caption, tuple(f'† {line}' for line in notes(results, summary)))
