"""Tables with the best values marked: Markdown, LaTeX, terminal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import rich.table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_LATEX = str.maketrans(
    {c: f'\\{c}' for c in '&%$#_{}'}
    | {'~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '\\': r'\textbackslash{}', '–': '--', '−': '$-$'}
    | {'±': r'$\pm$', '∞': r'$\infty$', '↑': r'$\uparrow$', '↓': r'$\downarrow$', '†': r'$^\dagger$'}
)

_BEST, _SECOND = '① {}'.format, '② {}'.format  # in a terminal, which may have no colours


@dataclass
class Table:
    """A table of texts.

    Attributes:
        head: Headings; the first is that of the rows' names.
        rows: Name and values of each row.
        places: Place of each value in its comparison, from 1, or None; as ``rows``, without names.
        caption: What the table shows.
        notes: Lines below it.
    """

    head: list[str]
    rows: list[list[str]]
    places: list[list[int | None]]
    caption: str = ''
    notes: tuple[str, ...] = ()

    def _marked(self, best: Callable, second: Callable, plain: Callable) -> Iterator[list]:
        for (name, *values), places in zip(self.rows, self.places, strict=True):
            marks = ({1: best, 2: second}.get(place, plain) for place in places)
            yield [plain(name), *(mark(value) for mark, value in zip(marks, values, strict=True))]

    def markdown(self) -> str:
        """Write in Markdown, without the caption: best in bold, second best underlined."""
        rows = self._marked('**{}**'.format, '<u>{}</u>'.format, str)
        rows = [self.head, ['---'] * len(self.head), *([cell.replace('|', '\\|') for cell in row] for row in rows)]
        return '\n'.join(['| ' + ' | '.join(row) + ' |' for row in rows] + [f'\n{line}' for line in self.notes])

    def latex(self, label: str) -> str:
        """Write in LaTeX (booktabs): best in bold, second best underlined."""

        def text(cell):
            return cell.translate(_LATEX)

        rows = self._marked(lambda t: rf'\textbf{{{text(t)}}}', lambda t: rf'\underline{{{text(t)}}}', text)
        lines = [
            r'\begin{table*}[t]',
            r'\centering',
            *([rf'\caption{{{text(self.caption)}.}}'] if self.caption else []),
            rf'\label{{{label}}}',
            rf'\begin{{tabular}}{{l{"c" * (len(self.head) - 1)}}}',
            r'\toprule',
            ' & '.join(map(text, self.head)) + r' \\',
            r'\midrule',
            *(' & '.join(row) + r' \\' for row in rows),
            r'\bottomrule',
            r'\end{tabular}',
            *(rf'\\ \footnotesize {text(line)}' for line in self.notes),
            r'\end{table*}',
        ]
        return '\n'.join(lines)

    def blocks(self, width: int) -> list['Table']:
        """Fold into tables no wider than a terminal, some columns each.

        A column that is wider stands alone.
        """
        cells = [list(column) for column in zip(self.head, *self._marked(_BEST, _SECOND, str), strict=True)]
        widths = [max(map(cell_len, column)) + 3 for column in cells]  # with a space on either side, and a line
        groups, room = [], 0
        for k, needed in enumerate(widths[1:]):
            if not groups or needed > room:
                groups.append([])
                room = width - widths[0] - 1
            groups[-1].append(k)
            room -= needed
        return [
            Table(
                [self.head[0], *(self.head[k + 1] for k in group)],
                [[row[0], *(row[k + 1] for k in group)] for row in self.rows],
                [[places[k] for k in group] for places in self.places],
            )
            for group in groups
        ]

    def print(self, console: Console | None = None) -> None:
        """Print to a terminal, best in bold green, wide tables in blocks.

        What is no terminal gets the table in one block.
        """
        console = console or Console()
        parts = self.blocks(console.width) if console.is_terminal else [self]
        if self.caption:
            console.print(f'{self.caption}:', markup=False, highlight=False, soft_wrap=True)
        for part in parts:
            part._print_grid(console)
        for line in self.notes:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _print_grid(self, console: Console) -> None:
        grid = rich.table.Table()
        for k, title in enumerate(self.head):
            grid.add_column(Text(title), justify='right' if k else 'left')
        for row in self._marked(lambda t: Text(_BEST(t), 'bold green'), lambda t: Text(_SECOND(t), 'underline'), Text):
            grid.add_row(*row)
        if not console.is_terminal:  # a file has any width
            console.width = console.measure(grid, options=console.options.update(max_width=10_000)).maximum
        console.print(grid)
