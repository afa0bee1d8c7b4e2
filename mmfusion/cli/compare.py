"""Compare fusion methods on pairs: fuse, evaluate, time, and report.

    mmfusion compare --methods seafusion u2fusion densefuse --data tno --out work_dirs/tno
    mmfusion compare --methods u2fusion mine=mine.py:mine.pth other=DIR --data DIR --out OUT

A method is [NAME=]METHOD[:WEIGHTS], or NAME=DIR, a folder of images that other code fused. Without weights the authors'
are taken: see `mmfusion models`. Repeat the command to go on after an interruption, or with more methods: what is
finished is kept. In several processes:

    torchrun --nproc-per-node 4 -m -- mmfusion compare --launcher pytorch …

Without the two dashes torchrun would take --vi for an abbreviation of an option of its own.
"""

import argparse
from contextlib import nullcontext

from mmfusion.comparison.entrants import DEFAULT_METRICS, open_data, parse_entrants
from mmfusion.utils import check_writable, follow, only_writer, track

from .arguments import (
    add_entrants_arguments,
    add_metrics_arguments,
    add_reading_arguments,
    at_least,
    new_parser,
    reading_options,
    refuse_missing_weights,
    source_patterns,
)
from .errors import verb
from .running import init_processes, leave_processes


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    add_entrants_arguments(parser)
    parser.add_argument('--out', required=True, help='folder of fused images, values, tables and report')
    add_metrics_arguments(parser, DEFAULT_METRICS)
    parser.add_argument(
        '--shape',
        nargs=2,
        type=at_least(1),
        default=(480, 640),
        metavar=('H', 'W'),
        help='of the timed pair (default: 480 640)',
    )
    parser.add_argument('--no-cost', action='store_true', help='measure no parameters, FLOPs, seconds and memory')
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='pairs at a time; default: %(default)s')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    add_reading_arguments(parser)
    parser.add_argument(
        '--gallery', type=at_least(0), default=30, help='images in the gallery of the report; default: %(default)s'
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def compare(args: argparse.Namespace) -> None:
    """Run the comparison.

    Raises:
        ValueError: If a method is left out of it; the others are compared.
    """
    entrants = parse_entrants(args.methods)
    for entrant in entrants:
        if isinstance(entrant.weights, str):
            refuse_missing_weights(entrant.weights)
    pairs = open_data(args.data, args.vi, args.ir, **source_patterns(args))
    if args.launcher == 'none':
        check_writable(args.out)
    reading = reading_options(args, lambda: pairs.ir.values())
    init_processes(args.launcher, args.local_rank)

    from mmengine.dist import is_main_process

    from mmfusion.comparison.methods import Comparison, lines_of, prepare
    from mmfusion.evaluation.specs import resolve_metrics
    from mmfusion.models.hub import find_device

    if args.launcher != 'none' and is_main_process():  # one alone, since the check makes and removes a folder
        check_writable(args.out)
    find_device(args.device)  # before anything is fetched
    resolve_metrics(args.metrics)  # before hours of fusing
    entrants = prepare(entrants)
    comparison = Comparison(
        entrants, pairs, args.out, args.device, lambda text: print(text, flush=True), args.fused_pattern, **reading
    )
    with only_writer(args.out) if is_main_process() else nullcontext():
        comparison.fuse(None if args.no_cost else tuple(args.shape), args.batch_size)
        with track(desc='evaluating', unit='image', show=is_main_process()) as bar:
            results = comparison.evaluate(args.metrics, args.protocol, workers=args.workers, progress=follow(bar))
        files = comparison.write(results, args.gallery)
    if is_main_process():
        comparison.table(results).print()
        print('written:', *files)
    leave_processes()
    if comparison.failed:
        failed = [f'{name}: {error}' for name, error in comparison.failed.items()]
        raise ValueError(lines_of(f'{len(failed)} of {len(entrants)} methods are left out:', failed))


main = verb(compare, make_parser)
