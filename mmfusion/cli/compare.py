"""Compare fusion methods on a dataset or a folder: fuse with all, evaluate, time, and write the report.

    mmfusion compare --methods seafusion u2fusion densefuse --data tno --out work_dirs/tno
    mmfusion compare --methods u2fusion mine=mine.py:mine.pth other=DIR --data DIR --out OUT

A method is [NAME=]METHOD[:WEIGHTS], or NAME=DIR, a folder of images that other code fused. Without weights the authors'
are taken: see `mmfusion models`. Repeat the command to go on after an interruption, or with more methods: what is
finished is kept. In several processes:

    torchrun --nproc-per-node 4 -m mmfusion compare --launcher pytorch …
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmfusion.comparison.methods import (
    DEFAULT_METRICS,
    Comparison,
    open_data,
    parse_entrant,
    prepare,
)
from mmfusion.evaluation import METRIC_SPECS, PROTOCOLS
from mmfusion.evaluation.specs import resolve_metrics
from mmfusion.models.hub import find_device

from .common import init_processes, leave_processes, report


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--methods', nargs='+', required=True, metavar='METHOD', help='see above')
    parser.add_argument('--data', help='tno, roadscene, msrs…, or a folder with folders vi and ir in it')
    parser.add_argument('--vi', help='folder of visible images, in the place of --data')
    parser.add_argument('--ir', help='folder of infrared images, of the same names')
    parser.add_argument('--out', required=True, help='folder of fused images, values, tables and report')
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=list(DEFAULT_METRICS),
        help=f"'all', or names of: {', '.join(METRIC_SPECS)}; default: {' '.join(DEFAULT_METRICS)}",
    )
    parser.add_argument('--protocol', choices=PROTOCOLS, default='tang')
    parser.add_argument(
        '--shape', nargs=2, type=int, default=(480, 640), metavar=('H', 'W'), help='of the timed pair; default: 480 640'
    )
    parser.add_argument('--no-cost', action='store_true', help='measure no parameters, FLOPs, seconds and memory')
    parser.add_argument('--batch-size', type=int, default=1, help='pairs at a time; default: %(default)s')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    parser.add_argument('--depth16', choices=('full', 'stretch'), default='full', help='how 16-bit images become 8-bit')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes that evaluate; default: one a core'
    )
    parser.add_argument(
        '--gallery', type=int, default=30, help='images in the gallery of the report; default: %(default)s'
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def compare(args: argparse.Namespace) -> None:
    """Run the comparison.

    Raises:
        ValueError: If a method is left out of it; the others are compared.
    """
    init_processes(args.launcher, args.local_rank)
    find_device(args.device)  # before anything is fetched
    metrics = [name for part in args.metrics for name in part.split(',') if name]
    metrics = 'all' if metrics == ['all'] else metrics
    resolve_metrics(metrics)  # before hours of fusing
    for name, least in (('batch_size', 1), ('gallery', 0)):
        if getattr(args, name) < least:
            raise ValueError(f'--{name.replace("_", "-")} must be at least {least}, got {getattr(args, name)}')
    if min(args.shape) < 1:
        raise ValueError(f'--shape: expected a height and a width above 0, got {" ".join(map(str, args.shape))}')
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ValueError(f'--out {args.out}: a file; expected a folder for images, tables and the report')
    pairs = open_data(args.data, args.vi, args.ir)
    entrants = prepare([parse_entrant(text) for text in args.methods])
    comparison = Comparison(entrants, pairs, args.out, args.device, args.depth16, lambda text: print(text, flush=True))
    comparison.fuse(None if args.no_cost else tuple(args.shape), args.batch_size)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn('{task.description}')
    with Progress(*columns, console=Console(stderr=True), disable=not is_main_process()) as bar:
        task = bar.add_task('', total=None)
        results = comparison.evaluate(
            metrics,
            args.protocol,
            workers=args.workers,
            progress=lambda done, total, text: bar.update(task, completed=done, total=total, description=text),
        )
    files = comparison.write(results, args.gallery)
    if is_main_process():
        comparison.table(results).print()
        print('written:', *files)
    leave_processes()
    if comparison.failed:
        failed = '; '.join(f'{name}: {error}' for name, error in comparison.failed.items())
        raise ValueError(f'{len(comparison.failed)} of {len(entrants)} methods are left out. {failed}')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run; returns the exit code."""
    return report(compare, make_parser(prog).parse_args(argv))
