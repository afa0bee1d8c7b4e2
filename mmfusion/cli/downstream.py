"""Does fusion help? Train and test one task model on visible, infrared, averaged and fused images, and compare.

Examples:
    mmfusion downstream occo_deeplabv3plus_synthetic --seeds 0 1 2 --out work_dirs/helps \
        --variants visible infrared average OCCO=frozen:occo.pth OCCO-joint=joint

Run again with the same --out to go on after an interruption, or to add variants and seeds. See docs/cascades.md.
"""

import argparse
import sys

from mmfusion.comparison.cells import (
    DEFAULT_METRICS,
    KINDS,
    CellError,
    cell_config,
    open_folder,
    parse_variant,
    run_cell,
    task_of,
)
from mmfusion.utils import check_writable
from mmfusion.utils.configs import find_config, override, read_config

from .common import ERRORS, Overrides, at_least, message_of


def make_parser(prog=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a cascade: mmfusion.FusionSegmentor or mmfusion.FusionDetector')
    parser.add_argument(
        '--variants',
        nargs='+',
        required=True,
        metavar='[NAME=]KIND',
        help='; '.join(KINDS.values()),
    )
    parser.add_argument(
        '--seeds', nargs='+', type=at_least(0), default=[0], help='each variant is trained with each seed'
    )
    parser.add_argument('--out', required=True, help='folder of trainings, results, tables and plot')
    parser.add_argument(
        '--metrics',
        nargs='+',
        help='columns, by name or pattern; the last one decides whether fusion helps. Default: '
        + ', or '.join(' '.join(patterns) for patterns in DEFAULT_METRICS.values()),
    )
    parser.add_argument(
        '--weights',
        choices=('last', 'best'),
        default='last',
        help='which checkpoint of a training is tested; best needs save_best in the config. Default: %(default)s',
    )
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser


def prepare(args):
    """Read the arguments, and make the config of every cell, so that what is wrong is told before anything runs.

    Returns:
        tuple: Task, and a list of (cell, its config).
    """
    file = find_config(args.config)
    if len(set(args.seeds)) < len(args.seeds):
        raise ValueError(f'--seeds: the same seed twice in {" ".join(map(str, args.seeds))}')
    variants = [parse_variant(text) for text in args.variants]
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise ValueError(f'--variants: two have one name among {", ".join(names)}; write NAME=KIND')
    base = read_config(file)
    override(base, args.cfg_options)
    task = task_of(base)
    hook = (base.get('default_hooks') or {}).get('checkpoint') or {}
    if args.weights == 'best' and not hook.get('save_best'):
        raise ValueError('--weights best: the config saves no best checkpoint (default_hooks.checkpoint.save_best)')
    for variant in variants:
        cell_config(base, variant, 0, '')  # refuses, before the folder is touched
    check_writable(args.out)
    cells = open_folder(args.out, base, file.name, variants, args.seeds, args.weights)
    return task, [(cell, cell_config(base, cell.variant, cell.seed, cell.folder, args.weights)) for cell in cells]


def run_all(jobs, weights):
    """Run the cells that have no result; returns the number of those that still have none."""
    done = sum(cell.file.is_file() for cell, _ in jobs)
    if done:
        print(f'{done} of {len(jobs)} cells are finished and skipped')
    failed = {}
    for cell, cfg in jobs:
        try:
            run_cell(cell, cfg, weights=weights, say=lambda text: print(text, flush=True))
        except CellError as error:
            failed[cell] = error
            print(f'error: {cell}: {error}', file=sys.stderr, flush=True)
    if failed:
        names = '; '.join(map(str, failed))
        print(f'error: {len(failed)} of {len(jobs)} cells have no result: {names}', file=sys.stderr)
    return len(failed)


def compare(task, jobs, patterns, out):
    """Print the table and what follows from it, and write the files."""
    kinds, values = {}, {}
    for cell, _ in jobs:
        name, result = cell.variant.name, cell.result()
        kinds[name] = cell.variant.kind
        values.setdefault(name, {})
        if result is not None:
            values[name][cell.seed] = result
    if not any(values.values()):
        return
    from mmfusion.comparison.tables import Comparison, choose_columns, table_of, verdict, write_files

    columns = choose_columns(patterns or DEFAULT_METRICS[task], values)
    comparison = Comparison(kinds, values, columns, list(dict.fromkeys(cell.seed for cell, _ in jobs)))
    table_of(comparison).print()
    for sentence in verdict(comparison):
        print(sentence)
    print('written:', *write_files(comparison, out))


def main(argv=None, prog=None):
    """Run; returns the exit code."""
    args = make_parser(prog).parse_args(argv)
    try:
        task, jobs = prepare(args)
        failed = run_all(jobs, args.weights)
        compare(task, jobs, args.metrics, args.out)
    except ERRORS as error:
        print(f'error: {message_of(error)}', file=sys.stderr)
        return 1
    return 1 if failed else 0
