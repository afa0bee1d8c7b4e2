"""What README and docs name exists: files, links, configs, and the options of the tools in their commands."""

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from mmfusion.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / 'README.md',
    *sorted(page for page in (ROOT / 'docs').rglob('*.md') if 'generated' not in page.parts),
    *sorted((ROOT / 'projects').rglob('*.md')),
]
FOLDERS = ('configs', 'demo', 'docs', 'mmfusion', 'projects', 'tests', 'tools', 'benchmarks', 'requirements')
PATH = re.compile(rf'(?<![\w/.:-])(?:{"|".join(FOLDERS)})/[\w./-]*\w(?![\w*{{])')
LINK = re.compile(r'\]\((?!https?://|#)([^)#\s]+)')
LEFT_BY_RUNS = ('demo/output',)


def name(page):
    return str(page.relative_to(ROOT))


def commands(page):
    """(script or verb, arguments) of every call of a script or of ``mmfusion``, wherever it stands in the page."""
    text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
    verbs = '|'.join(VERBS)
    for line in re.findall(rf'(?:python (?:tools|demo)/[\w/]+\.py|\bmmfusion (?:{verbs})\b)[^\n`|]*', text):
        words = shlex.split(line.partition(' #')[0])
        yield words[1], words[2:]


def tool(script):
    """A script, or the module of a verb."""
    if script in VERBS:
        return importlib.import_module(f'mmfusion.cli.{script}')
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = [(name(page), *command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_paths_and_links_exist(page):
    text = page.read_text(encoding='utf-8')
    targets = {path: ROOT / path for path in PATH.findall(text) if not path.startswith(LEFT_BY_RUNS)}
    targets.update({link: page.parent / link for link in LINK.findall(text)})
    assert [path for path, file in targets.items() if not file.exists()] == []


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_inherited_configs_exist(page):
    for config in re.findall(r'mmfusion::([\w./-]+\.py)', page.read_text(encoding='utf-8')):
        assert (ROOT / 'configs' / config).is_file(), config


def test_every_shipped_occo_config_is_told():
    pages = ''.join((ROOT / 'docs' / page).read_text(encoding='utf-8') for page in ('configs.md', 'methods/occo.md'))
    assert [f.name for f in (ROOT / 'configs/occo').rglob('*.py') if f.name not in pages] == []


def test_every_page_is_in_the_index():
    index = (ROOT / 'docs/index.md').read_text(encoding='utf-8')
    pages = [str(p.relative_to(ROOT / 'docs')) for p in PAGES if p.is_relative_to(ROOT / 'docs')]
    assert [page for page in pages if page != 'index.md' and f'({page})' not in index] == []


def test_commands_are_found():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize('script', sorted({script for _, script, _ in COMMANDS}))
def test_options_are_known_to_the_tool(script, capsys):
    """``--help`` is accepted, and shows every option that a page gives."""
    module = tool(script)
    parse = getattr(module, 'parse_args', None) or module.main
    with pytest.raises(SystemExit) as stop:
        parse(['--help'])
    assert stop.value.code == 0
    shown = set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', capsys.readouterr().out))
    told = {(p, w.partition('=')[0]) for p, s, a in COMMANDS if s == script for w in a if re.match(r'--?[a-z]', w)}
    assert {(page, option) for page, option in told if option not in shown} == set()


@pytest.mark.parametrize('script', sorted({script for _, script, _ in COMMANDS}))
def test_commands_have_the_options_that_the_tool_requires(script, capsys):
    """Commands that write to ``--out`` are meant to be run as they are; others may be parts of one."""
    module = tool(script)
    with pytest.raises(SystemExit):
        (getattr(module, 'parse_args', None) or module.main)(['--help'])
    usage = capsys.readouterr().out.partition('\n\n')[0]
    while usage != (usage := re.sub(r'\[[^][]*\]|\([^()]*\)', '', usage)):
        pass
    required = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', usage))
    whole = [(page, {w.partition('=')[0] for w in a}) for page, s, a in COMMANDS if s == script and '--out' in a]
    assert [(page, required - given) for page, given in whole if required - given] == []


def test_readme_counts_the_metrics():
    from mmfusion.evaluation import METRIC_SPECS

    assert f'{len(METRIC_SPECS)} fusion metrics' in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_pictures_are_small():
    assert [p.name for p in (ROOT / 'docs/assets').iterdir() if p.stat().st_size >= 300_000] == []


def first_lines(file):
    """(place, first line, second line) of the docstrings of a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node, clean=False)
        ):
            line, *rest = text.splitlines()
            yield f'{name(file)}, {getattr(node, "name", "its head")}', line, rest[0].strip() if rest else ''


def test_docstrings_begin_with_a_short_sentence():
    """At most twelve words; a literal counts as one, a number or sign as none. What else there is stands below."""
    literal, wrong = re.compile(r'``[^`]*``|:\w+:`[^`]*`'), []
    for file in sorted((ROOT / 'mmfusion').rglob('*.py')):
        for place, line, below in first_lines(file):
            count = sum(any(map(str.isalpha, word)) for word in literal.sub('literal', line).split())
            if count > 12 or below or not line.endswith(('.', '?', ':', '…')):
                wrong.append(f'{place}: {line} ({count} words)')
    assert wrong == []
