"""Tables in a terminal: folded into blocks of columns, so that every cell can be read."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from mmfusion.utils.tables import Table


def table(methods=10, metrics=12):
    rows = [[f'Method{k}', *(f'{k + 1}.{m:03d}' for m in range(metrics))] for k in range(methods)]
    places = [[methods - k if m % 2 else k + 1 for m in range(metrics)] for k in range(methods)]
    return Table(['Method', *(f'Metric{m} ↑' for m in range(metrics))], rows, places, 'A caption', ('† a note',))


def printed(given, width, terminal=True):
    out = io.StringIO()
    given.print(Console(file=out, width=width, force_terminal=terminal, no_color=True, color_system=None))
    return out.getvalue().splitlines()


@pytest.mark.parametrize('width', [60, 80, 200])
def test_every_cell_of_ten_methods_and_twelve_metrics_is_whole(width):
    given = table()
    lines = printed(given, width)
    assert max(map(cell_len, lines)) <= width
    text = '\n'.join(lines)
    assert '…' not in text
    cells = [cell.strip() for line in lines for cell in line.replace('┃', '│').split('│')]
    for row in given.rows:
        assert all(value in cells or f'① {value}' in cells or f'② {value}' in cells for value in row)
    assert [cells.count(title) for title in given.head[1:]] == [1] * 12
    blocks = cells.count('Method')
    assert blocks == {60: 4, 80: 3, 200: 1}[width]
    assert cells.count('Method3') == blocks
    assert (lines[0], lines[-1]) == ('A caption:', '† a note')


def test_a_file_gets_one_block():
    lines = printed(table(), 80, terminal=False)
    assert sum('Method3' in line for line in lines) == 1


def test_a_column_wider_than_the_terminal_stands_alone():
    given = Table(['Method', 'a' * 50, 'b'], [['x', '1', '2']], [[None, None]])
    assert [block.head for block in given.blocks(30)] == [['Method', 'a' * 50], ['Method', 'b']]
