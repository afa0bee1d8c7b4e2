"""List the methods: paper, size, licence and place of weights.

    mmfusion models               a row a method
    mmfusion models --all         a row a config
    mmfusion models u2fusion      all about one

Weights are looked for in the folder MMFUSION_WEIGHTS, by their SHA-256, and among those that were fetched before.
"""

import argparse
import logging
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mmfusion.utils.configs import find_config, published, shipped, short_name

from .arguments import new_parser
from .errors import verb
from .running import log_level

_LEGEND = """\
parameters, GFLOPs: of what fuses one pair of 640×480 (2 FLOPs a multiply-add).
seconds: of that pair on this machine, where --time is given.
licence: of the weights. Authors' weights are no part of mmfusion; where no
licence is stated, they may not be passed on.
weights: shipped with mmfusion; here; fetched on first use; by hand, from the
page that `mmfusion models NAME` names; – where none are published.
"""


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    parser.add_argument('method', nargs='?', metavar='METHOD', help='say all about this one')
    parser.add_argument('--time', action='store_true', help='measure the seconds on this machine, with random weights')
    parser.add_argument('--device', help='where --time runs; default: a GPU where there is one')
    parser.add_argument('--all', action='store_true', help='every config, those for training among them')
    return parser


def weights_state(name: str) -> str:
    """Say in a word whether a config's published weights are here."""
    from mmfusion.models.hub import local_files

    entry = published()[name]
    authors = entry.get('Authors Weights')
    if not authors:
        return 'shipped' if shipped(entry) else 'fetched' if entry.get('Weights') else '–'
    here = local_files(name)
    missing = [item for item in authors['Files'] if item['Name'] not in here]
    if not missing:
        return 'here'
    return 'fetched' if all(item.get('URL') and item.get('SHA256') for item in missing) else 'by hand'


def list_methods(every: bool = False, seconds: bool = False, device: str | None = None) -> str:
    """Print the table; returns what its columns mean."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column('name', no_wrap=True)
    table.add_column('paper', no_wrap=True)
    for title in ('parameters', 'GFLOPs', 'seconds') if seconds else ('parameters', 'GFLOPs'):
        table.add_column(title, justify='right', no_wrap=True)
    table.add_column('licence', no_wrap=True)
    table.add_column('weights', no_wrap=True)
    seen = set()
    for name, entry in published().items():
        weights = entry.get('Weights') or entry.get('Authors Weights')
        if every or weights or entry['In Collection'] not in seen:
            paper, parameters, flops, licence, weights = _row(name, entry)
            timed = [_seconds(name, device)] if seconds else []
            shown = name if every else short_name(name)
            table.add_row(shown, paper, parameters, flops, *timed, licence, weights)
        seen.add(entry['In Collection'])
    console = Console()
    if not console.is_terminal:  # a file has any width
        console.width = max(console.width, console.measure(table).maximum)
    console.print(table)
    return _LEGEND.rstrip()


def _row(name: str, entry: dict) -> Iterator[str]:
    paper = entry['Collection'].get('Paper') or {}
    values = entry.get('Metadata') or {}
    yield ' '.join(str(paper[key]) for key in ('Venue', 'Year') if key in paper) or '–'
    yield f'{values["Parameters"]:,}' if 'Parameters' in values else '–'
    yield f'{values["FLOPs"] / 1e9:,.1f}' if 'FLOPs' in values else '–'
    licence = (entry.get('Authors Weights') or entry).get('License', '–')
    yield 'none' if licence == 'none stated' else licence
    yield weights_state(name)


def _seconds(name: str, device: str | None) -> str:
    """Seconds of one pair; none where priors would be fetched."""
    from mmfusion.models.cost import measure
    from mmfusion.models.hub import init_model, load_model_config

    cfg = load_model_config(name)
    if cfg.model.get('priors'):
        return '–'
    with log_level(logging.ERROR):
        return f'{measure(init_model(cfg, "random", device)).seconds:.3f}'


def describe(method: str, seconds: bool = False, device: str | None = None) -> str:
    """Describe a method, its configs and weights from the metafile.

    With ``seconds``, it is measured on ``device``.
    """
    name = find_config(method).stem
    if name not in published():
        raise ValueError(
            f'{name}: no metafile has an entry of this config; `mmfusion models --all` lists those that have'
        )
    entry = published()[name]
    collection, values = entry['Collection'], entry.get('Metadata') or {}
    paper, code = (collection.get(key) or {} for key in ('Paper', 'Code'))
    authors = entry.get('Authors Weights') or {}
    state = weights_state(name)
    siblings = [n for n, e in published().items() if e['In Collection'] == entry['In Collection']]
    lines = {
        'method': entry['In Collection'],
        'paper': paper.get('Title'),
        'published': ', '.join(str(paper[key]) for key in ('Venue', 'Year', 'URL') if key in paper),
        'code': ', '.join(str(code[key]) for key in ('URL', 'Version', 'Framework') if key in code),
        'config': entry['Config'],
        'configs': ', '.join(siblings),
        'trained on': values.get('Training Data'),
        'parameters': f'{values["Parameters"]:,}' if 'Parameters' in values else None,
        'GFLOPs': f'{values["FLOPs"] / 1e9:,.1f} (one pair of 640×480)' if 'FLOPs' in values else None,
        'seconds': f'{_seconds(name, device)} (that pair on this machine)' if seconds else None,
        'weights': {
            'fetched': 'fetched on first use',
            'shipped': shipped(entry),
            '–': 'none published',
        }.get(state, state),
        'licence': _licence((authors or entry).get('License')),
        'page': ', '.join(authors[key] for key in ('Page', 'Note') if key in authors),
    }
    text = [f'{key:<11} {value}' for key, value in lines.items() if value]
    from mmfusion.models.hub import local_files

    here = local_files(name) if authors else {}
    for item in authors.get('Files', ()):
        size = f', {item["Bytes"]:,} bytes' if 'Bytes' in item else ''
        text.append(
            f'{"file":<11} {item["Name"]}{size}{", " + str(here[item["Name"]]) if item["Name"] in here else ""}'
        )
    return '\n'.join(text)


def _licence(name: str | None) -> str | None:
    if name != 'none stated':
        return name
    return 'none stated: the weights may not be passed on, and are no part of mmfusion'


def run(args: argparse.Namespace) -> str:
    """Print what is asked for."""
    if args.device is not None and not args.time:
        raise ValueError('--device goes with --time, which measures there')
    if args.method is None:
        return list_methods(args.all, args.time, args.device)
    if args.all:
        raise ValueError(
            f'--all lists every config; leave it out for {args.method} alone, whose configs are named there'
        )
    return describe(args.method, args.time, args.device)


main = verb(run, make_parser)
