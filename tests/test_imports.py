"""Imports point downward: no arrow from utils or datasets up to models or apis, in functions neither."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmfusion'
# Part of the package → the other parts that it may import from; those not named may import from all.
BELOW = {
    'compat': set(),
    'registry': set(),
    'structures': set(),
    'utils': {'version'},
    'datasets': {'registry', 'structures', 'utils'},
    'models': {'compat', 'registry', 'structures', 'utils', 'version'},
    'evaluation': {'registry', 'structures', 'utils', 'version'},
    'visualization': {'registry', 'structures', 'utils'},
    'engine': {'registry', 'structures', 'utils', 'models', 'datasets', 'visualization'},
    'masks': {'registry', 'structures', 'utils', 'models', 'datasets'},
    'export': {'registry', 'structures', 'utils', 'models', 'version'},
    'apis': {'registry', 'structures', 'utils', 'models', 'datasets', 'export', 'visualization'},
}


def imported_parts(file):
    """Parts of the package that a file imports from, at its top or in its functions."""
    here = file.relative_to(PACKAGE.parent).with_suffix('').parts
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = '.'.join((*here[: len(here) - node.level], *filter(None, [node.module])))
            names = [f'{base}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            continue
        yield from (name.split('.')[1] for name in names if name.startswith('mmfusion.'))


@pytest.mark.parametrize('part', BELOW)
def test_no_import_points_upward(part):
    files = sorted((PACKAGE / part).rglob('*.py')) or [PACKAGE / f'{part}.py']
    found = {(str(f.relative_to(PACKAGE)), name) for f in files for name in imported_parts(f)}
    upward = {(file, name) for file, name in found if name != part and name not in BELOW[part]}
    assert not upward


def test_the_table_of_rooms_says_the_same():
    """docs/design.md: each room with what it may import, beside what serves all."""
    page = (PACKAGE.parent / 'docs/design.md').read_text(encoding='utf-8').partition('## The way of the data')[0]
    rows = [[cell.strip() for cell in line.split('|')[1:4]] for line in page.splitlines() if line.startswith('| `')]
    told = {}
    for rooms, _, allowed in rows:
        for room in re.findall(r'`(\w+)`', rooms.partition('(')[0]):
            told[room] = set(allowed.split(', ')) - {'nothing above'}
    serves_all = {'registry', 'structures', 'utils', 'version'}
    assert set(told) == {path.stem for path in PACKAGE.iterdir() if not path.name.startswith(('_', '.', 'version'))}
    for room, allowed in told.items():
        if allowed != {'all above'}:
            assert allowed - serves_all == BELOW[room] - serves_all, room
        else:
            assert room not in BELOW


def test_optional_packages_are_imported_where_they_are_used():
    """None at the top of a module: importing the package never needs an extra."""
    extras = ('draw', 'export', 'masks', 'thermal', 'view')
    lines = [
        line for extra in extras for line in (PACKAGE.parent / f'requirements/{extra}.txt').read_text().splitlines()
    ]
    named = {re.match(r'[\w-]+', line)[0].replace('-', '_') for line in lines if not line.startswith('-')}
    optional = {{'scikit_learn': 'sklearn'}.get(name, name) for name in named} - {'ftfy'}
    assert {'onnx', 'segment_anything', 'sklearn', 'transformers', 'gradio', 'flyr'} <= optional
    found = set()
    for file in PACKAGE.rglob('*.py'):
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {(file.name, name) for name in names if name.partition('.')[0] in optional}
    assert not found
