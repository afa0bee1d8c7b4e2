"""Sphinx configuration of the documentation; ``make docs`` builds it, with warnings as errors."""

import os
import re
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['COLUMNS'] = '110'  # width of the help of verbs

from mmfusion import cli  # noqa: E402
from mmfusion.version import __version__  # noqa: E402

project = 'mmfusion'
author = 'The mmfusion authors'
copyright = author
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]
root_doc = 'index'
exclude_patterns = ['_build', '_templates']
templates_path = ['_templates']

html_theme = 'furo'
html_title = f'mmfusion {release}'
html_theme_options = dict(navigation_with_keys=True)

# Headings are linked as GitHub links them.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence', 'deflist']

# `MODELS.get('…')` and the like import what they need; nothing is mocked.
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_default_options = {'members': True, 'undoc-members': False, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def adapt_docstring(app, what, name, obj, options, lines):
    """Show indented commands of modules as code, and bars in formulas as they stand: |f − vi| is no substitution."""
    if what == 'module':
        for k in range(len(lines) - 1, 0, -1):
            if lines[k].startswith('    ') and not lines[k - 1].strip():
                lines[k - 1 : k] = ['', '::', '']
    # Bars may span lines; what is between double backquotes is left.
    parts = re.split(r'(``.+?``)', '\n'.join(lines), flags=re.DOTALL)
    parts[::2] = [re.sub(r'\|(?=\S)|(?<=\S)\|', r'\|', part) for part in parts[::2]]
    lines[:] = ''.join(parts).split('\n')


def leave_the_site(app, docname, content):
    """Name files of the repository that are no pages, in place of links to them."""
    if docname.startswith('project/'):  # pages at the top of the repository, which are included
        content[0] = (ROOT / f'{Path(docname).name.upper()}.md').read_text(encoding='utf-8').replace('](docs/', '](../')
    up = re.escape('../' * (docname.count('/') + 1))
    content[0] = re.sub(rf'\[([^]\[]+)\]\({up}([\w./-]+)\)', r'`\2`', content[0])


class VerbHelp(Directive):
    """Insert what ``mmfusion VERB --help`` prints."""

    required_arguments = 1

    def run(self):
        """Give a block of text."""
        with redirect_stdout(StringIO()) as shown, suppress(SystemExit):
            cli.main([self.arguments[0], '--help'])
        text = shown.getvalue()
        # Paths of the machine that builds are no part of the page.
        text = re.sub(re.escape(str(ROOT)) + '/?', '', text)
        return [nodes.literal_block(text, text, language='text')]


def write_verbs(app):
    """Write the page of the verbs, which has a heading for each."""
    parts = [
        f'## {verb}\n\n{text[0].upper()}{text[1:]}.\n\n```{{verb-help}} {verb}\n```\n'
        for verb, text in cli.VERBS.items()
    ]
    page = '# Command line\n\nWhat `mmfusion VERB --help` prints.\n\n' + '\n'.join(parts)
    file = Path(app.srcdir) / 'api' / 'generated' / 'commands.md'
    file.parent.mkdir(exist_ok=True)
    if not file.is_file() or file.read_text(encoding='utf-8') != page:
        file.write_text(page, encoding='utf-8')


def setup(app):
    """Register what this file adds to Sphinx."""
    app.add_directive('verb-help', VerbHelp)
    app.connect('builder-inited', write_verbs, priority=100)  # before autosummary, which lists the pages
    app.connect('autodoc-process-docstring', adapt_docstring)
    app.connect('source-read', leave_the_site)
