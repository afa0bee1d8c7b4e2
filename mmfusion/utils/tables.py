"""Tables with the best and second best values marked, in Markdown, LaTeX and a terminal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LATEX = str.maketrans(
    {c: f'\\{c}' for c in '&%$#_{}'}
    | {'~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '\\': r'\textbackslash{}', '–': '--', '−': '$-$'}
    | {'±': r'$\pm$', '∞': r'$\infty$', '↑': r'$\uparrow$', '↓': r'$\downarrow$', '†': r'$^\dagger$'}
)


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

    def transposed(self) -> 'Table':
        """Exchange rows and columns."""
        names, *columns = zip(*self.rows, strict=True)
        rows = [[title, *column] for title, column in zip(self.head[1:], columns, strict=True)]
        places = [list(column) for column in zip(*self.places, strict=True)]
        return Table(['', *names], rows, places, self.caption, self.notes)

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
        """Write in LaTeX as papers do (booktabs): best in bold, second best underlined."""

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

    def print(self, console=None) -> None:
        """Print to a terminal (a rich ``Console``): best in bold green, second best underlined."""
        from rich import table
        from rich.console import Console
        from rich.text import Text

        grid = table.Table()
        for k, title in enumerate(self.head):
            grid.add_column(Text(title), justify='right' if k else 'left')
        for row in self._marked(lambda t: Text(f'① {t}', 'bold green'), lambda t: Text(f'② {t}', 'underline'), Text):
            grid.add_row(*row)
        console = console or Console()
        if not console.is_terminal:  # a file has any width
            console.width = console.measure(grid, options=console.options.update(max_width=10_000)).maximum
        console.print(f'{self.caption}:', markup=False, highlight=False, soft_wrap=True)
        console.print(grid)
        for line in self.notes:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
