"""Tables of means with best and second best marked, ranks, and a split by day and night."""

import math
import re

from ..specs import METRIC_SPECS


def rank(values, higher_is_better):
    """Ranks from 1 (best); equal values share the better rank; NaN has no rank.

    Args:
        values (list[float]): One per method.
        higher_is_better (bool): The direction.

    Returns:
        list[int | None]: One per method.

    Examples:
        >>> rank([0.5, 0.7, 0.7, float('nan')], True)
        [3, 1, 1, None]
    """
    sign = -1 if higher_is_better else 1
    defined = [sign * v for v in values if not math.isnan(v)]
    return [None if math.isnan(v) else 1 + sum(other < sign * v for other in defined) for v in values]


def summarize(results, images=None):
    """Means, ranks and mean ranks of :class:`~mmfusion.evaluation.report.Results`.

    Args:
        results (Results): The values.
        images (list[str], optional): A part of the images.

    Returns:
        dict: ``means`` and ``ranks`` (method → metric → value), ``mean_rank`` (method → mean over the metrics that rank
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


def split_day_night(images):
    """Split names as MSRS gives them (``00004N``, ``00131D``; also ``…_night``, ``…_day``).

    Returns:
        dict[str, list[str]]: ``day`` and ``night``, or empty where not every name says which.

    Examples:
        >>> split_day_night(['00004N', '00131D'])
        {'day': ['00131D'], 'night': ['00004N']}
        >>> split_day_night(['01', '02'])
        {}
    """
    day, night = [i for i in images if _DAY.search(i)], [i for i in images if _NIGHT.search(i)]
    return dict(day=day, night=night) if len(day) + len(night) == len(images) and day and night else {}


def format_value(value, digits=4):
    """A value in a cell: ``digits`` significant digits, no exponent for what a table prints."""
    if math.isnan(value):
        return '–'
    if math.isinf(value):
        return '∞' if value > 0 else '−∞'
    if value == 0:
        return '0'
    decimals = min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return f'{value:.{decimals}f}'


def notes(results, summary):
    """list[str]: a line for every mean that leaves images out, with the number of images and the reasons."""
    lines = []
    for method in results.methods:
        for name in results.metrics:
            left_out = summary['undefined'][method][name]
            if left_out:
                reasons = '; '.join(sorted(set(left_out.values())))
                lines.append(f'{method}, {name}: without {len(left_out)} image(s) ({reasons})')
    return lines


def _cells(results, summary, method, style, digits):
    """The row of a method; ``style`` maps 'best', 'second' and 'plain' to a function of the text."""
    cells = []
    for name in results.metrics:
        text = format_value(summary['means'][method][name], digits)
        if summary['undefined'][method][name]:
            text += style['note']
        place = summary['ranks'][method][name] if len(results.methods) > 1 else None
        cells.append(style.get({1: 'best', 2: 'second'}.get(place), str)(text))
    cells.append(format_value(summary['mean_rank'][method], 3))
    return cells


def to_markdown(results, summary=None, digits=4):
    """A Markdown table: best in bold, second best underlined, arrows for the directions."""
    summary = summary or summarize(results)
    style = dict(best=lambda t: f'**{t}**', second=lambda t: f'<u>{t}</u>', note='†')
    head = ['Method', *(f'{n} {METRIC_SPECS[n].arrow}' for n in results.metrics), 'Rank ↓']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for method in results.methods:
        row = [method.replace('|', '\\|'), *_cells(results, summary, method, style, digits)]
        lines.append('| ' + ' | '.join(row) + ' |')
    lines += [f'\n† {line}' for line in notes(results, summary)]
    return '\n'.join(lines)


LATEX_ESCAPES = str.maketrans(
    {c: f'\\{c}' for c in '&%$#_{}'}
    | {'~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '\\': r'\textbackslash{}'}
)


def to_latex(results, summary=None, digits=4, caption='', label='tab:fusion'):
    """A LaTeX table in the papers' layout (booktabs): best in bold, second best underlined."""
    summary = summary or summarize(results)
    style = dict(best=lambda t: rf'\textbf{{{t}}}', second=lambda t: rf'\underline{{{t}}}', note=r'$^\dagger$')
    arrows = {True: r'$\uparrow$', False: r'$\downarrow$'}
    head = [f'{n.translate(LATEX_ESCAPES)} {arrows[METRIC_SPECS[n].higher_is_better]}' for n in results.metrics]
    lines = [
        r'\begin{table*}[t]',
        r'\centering',
        *([rf'\caption{{{caption}}}'] if caption else []),
        rf'\label{{{label}}}',
        rf'\begin{{tabular}}{{l{"c" * (len(head) + 1)}}}',
        r'\toprule',
        ' & '.join(['Method', *head, r'Rank $\downarrow$']) + r' \\',
        r'\midrule',
    ]
    for method in results.methods:
        cells = _cells(results, summary, method, style, digits)
        row = (
            ' & '.join([method.translate(LATEX_ESCAPES), *cells])
            .replace('–', '--')
            .replace('∞', r'$\infty$')
            .replace('−', '$-$')
        )
        lines.append(row + r' \\')
    lines += [r'\bottomrule', r'\end{tabular}']
    lines += [rf'\\ \footnotesize $^\dagger$ {line.translate(LATEX_ESCAPES)}' for line in notes(results, summary)]
    return '\n'.join([*lines, r'\end{table*}'])


def print_table(results, summary=None, console=None, digits=4):
    """Print the table to a terminal: methods as columns, metrics as rows, best in bold green, second underlined."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    summary = summary or summarize(results)
    table = Table(title=f'{len(results.images)} images, protocol {results.protocol}')
    table.add_column('metric')
    for method in results.methods:
        table.add_column(Text(method), justify='right')
    styles = {1: 'bold green', 2: 'underline'} if len(results.methods) > 1 else {}
    marks = {1: ' ①', 2: ' ②'} if len(results.methods) > 1 else {}
    for name in results.metrics:
        row = [f'{name} {METRIC_SPECS[name].arrow}']
        for method in results.methods:
            place = summary['ranks'][method][name]
            text = format_value(summary['means'][method][name], digits)
            text += ('†' if summary['undefined'][method][name] else '') + marks.get(place, '  ' if marks else '')
            row.append(Text(text, style=styles.get(place, '')))
        table.add_row(*row)
    table.add_section()
    table.add_row('mean rank ↓', *(format_value(summary['mean_rank'][m], 3) for m in results.methods))
    console = console or Console()
    console.print(table)
    for line in notes(results, summary):
        console.print(f'† {line}', markup=False, highlight=False)
