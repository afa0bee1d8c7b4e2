"""Does fusion help? Train and test one task model on each input.

Examples:
    mmfusion downstream occo_deeplabv3plus_synthetic --seeds 0 1 2 --out work_dirs/helps \
        --variants visible infrared average OCCO=frozen:occo.pth OCCO-joint=joint

    mmfusion downstream zero-shot_cgnet_msrs --zero-shot --out work_dirs/zero_shot \
        --variants visible infrared average method:seafusion mine=folder:fused

With --zero-shot nothing is trained: the task model is tested with the weights that the config starts it from.

Run again with the same --out to go on after an interruption, or to add variants and seeds. See docs/cascades.md.
"""

import fnmatch
import sys
from functools import partial

from mmfusion.comparison.cell_config import cell_config, task_of, without_training
from mmfusion.comparison.cells import DEFAULT_METRICS, ZERO_SHOT_METRICS, CellError, open_folder
from mmfusion.comparison.running import evaluate_cell, fuse_for, run_cell
from mmfusion.comparison.variants import KINDS, parse_variant
from mmfusion.utils import check_writable
from mmfusion.utils.configs import find_config, override, read_config

from .arguments import Overrides, at_least, new_parser
from .errors import verb
from .running import without_sync_bn
from .setup_errors import check_numbers


def make_parser(prog=None):
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    parser.add_argument('config', help='config of a cascade: mmfusion.FusionSegmentor or mmfusion.FusionDetector')
    parser.add_argument('--variants', nargs='+', required=True, metavar='[NAME=]KIND', help='; '.join(KINDS.values()))
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
    parser.add_argument(
        '--zero-shot',
        action='store_true',
        help='train nothing: test the task model with its own weights (task_checkpoint or init_cfg of the config)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser


def prepare(args):
    """Read the arguments, and make all cells' configs before anything runs.

    Returns:
        tuple: Task, the config of all, and a list of (cell, its config).
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
    check_numbers(base)
    hook = (base.get('default_hooks') or {}).get('checkpoint') or {}
    if args.zero_shot:
        _check_zero_shot(args, base, variants, task)
        base.model.frozen = ()
        without_training(base)
        without_sync_bn(base.model)
    if args.weights == 'best' and not hook.get('save_best'):
        raise ValueError('--weights best: the config saves no best checkpoint (default_hooks.checkpoint.save_best)')
    for variant in variants:
        cell_config(base, variant, 0, '')  # refuses, before the folder is touched
    check_writable(args.out)
    cells = open_folder(args.out, base, file.name, variants, args.seeds, args.weights)
    return task, base, [(cell, cell_config(base, cell.variant, cell.seed, cell.folder, args.weights)) for cell in cells]


def _check_zero_shot(args, base, variants, task):
    """Refuse what training would be needed for."""
    joint = [variant.name for variant in variants if variant.kind == 'joint']
    if joint or args.seeds != [0] or args.weights != 'last':
        raise ValueError('--zero-shot trains nothing: leave out joint variants, --seeds and --weights')
    model = base.model
    if not model.get('task_checkpoint') and not model[task].get('init_cfg'):
        raise ValueError(f'--zero-shot: the config gives the {task} no weights. Set model.task_checkpoint=FILE.')


def run_all(base, jobs, args):
    """Run the cells without result; list those that still have none."""
    done = sum(cell.file.is_file() for cell, _ in jobs)
    if done:
        print(f'{done} of {len(jobs)} cells are finished and skipped')
    failed, say = [], partial(print, flush=True)
    for cell, cfg in jobs:
        try:
            if cell.variant.kind == 'method' and not cell.file.is_file():
                fuse_for(cell, base, say)
            if args.zero_shot:
                evaluate_cell(cell, cfg, say)
            else:
                run_cell(cell, cfg, weights=args.weights, say=say)
        except CellError as error:
            failed.append(cell)
            print(f'error: {cell}: {error}', file=sys.stderr, flush=True)
    return failed


def compare(task, jobs, patterns, out, zero_shot=False):
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

    defaults = DEFAULT_METRICS[task]
    if zero_shot:  # groups of images, where the config divides them
        known = {name for cells in values.values() for cell in cells.values() for name in cell}
        defaults = [pattern for pattern in ZERO_SHOT_METRICS[task] if fnmatch.filter(known, pattern)]
    columns = choose_columns(patterns or defaults, values)
    comparison = Comparison(kinds, values, columns, list(dict.fromkeys(cell.seed for cell, _ in jobs)))
    table_of(comparison).print()
    for sentence in verdict(comparison):
        print(sentence)
    print('written:', *write_files(comparison, out))


def run(args):
    """Run all cells, and compare those that have a result.

    Raises:
        RuntimeError: If a cell has none; its own error was printed before.
    """
    task, base, jobs = prepare(args)
    failed = run_all(base, jobs, args)
    compare(task, jobs, args.metrics, args.out, args.zero_shot)
    if failed:
        raise RuntimeError(f'{len(failed)} of {len(jobs)} cells have no result: {"; ".join(map(str, failed))}')


main = verb(run, make_parser)
