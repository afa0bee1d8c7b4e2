"""Evaluate folders of fused images: a table, metrics.csv, metrics.json and a report.

    mmfusion evaluate --ir data/TNO/ir --vi data/TNO/vi \
        --fused SeAFusion=results/seafusion DenseFuse=results/densefuse --out work_dirs/eval

Run again with the same --out to go on after an interruption, or to add methods and metrics: values whose files have not
changed are taken over.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmfusion.evaluation import METRIC_SPECS, PROTOCOLS
from mmfusion.evaluation.report import evaluate_folders, table_of, write_html
from mmfusion.utils import DEPTH16

from .common import add_source_arguments, source_folders


def method_folder(text):
    """``NAME=DIR``, or ``DIR`` alone, whose last part is then the name."""
    name, sep, folder = text.partition('=')
    name, folder = (name, folder) if sep else (Path(text).name, text)
    if not name or not folder:
        raise argparse.ArgumentTypeError(f'{text!r}: expected NAME=DIR')
    return name, folder


def parse_args(argv=None, prog=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_source_arguments(parser)
    parser.add_argument('--fused', required=True, nargs='+', type=method_folder, metavar='NAME=DIR')
    parser.add_argument(
        '--metrics', nargs='+', default=['all'], help=f"'all', or names of: {', '.join(METRIC_SPECS)} (or with commas)"
    )
    parser.add_argument('--protocol', choices=PROTOCOLS, default='tang')
    parser.add_argument('--out', required=True, help='folder for metrics.csv, metrics.json and report.html')
    parser.add_argument('--allow-missing', action='store_true', help='evaluate what is there where files are missing')
    parser.add_argument(
        '--depth16',
        choices=DEPTH16,
        default='full',
        help='how sources of more than 8 bits become 8; stretch is for raw thermal data, never for fused images',
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: one a core)')
    parser.add_argument('--no-report', action='store_true', help='no report.html')
    parser.add_argument(
        '--gallery', default='60', help="images in the report's gallery: a number, or 'all' (default 60)"
    )
    parser.add_argument('--picture-size', type=int, default=720, help='longest side of a picture in the report')
    args = parser.parse_args(argv)
    names = [name for name, _ in args.fused]
    if len(set(names)) < len(names):
        parser.error(f'--fused: two methods have one name among {", ".join(names)}')
    if args.gallery != 'all' and not args.gallery.isdecimal():
        parser.error(f"--gallery: expected a number or 'all', got {args.gallery!r}")
    if args.picture_size < 1:
        parser.error(f'--picture-size must be at least 1, got {args.picture_size}')
    args.metrics = 'all' if args.metrics == ['all'] else [n for part in args.metrics for n in part.split(',') if n]
    return args


def main(argv=None, prog=None):
    """Evaluate, print the table, write the files."""
    args = parse_args(argv, prog)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn('{task.description}')
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task('', total=None)
        try:
            vi_dir, ir_dir = source_folders(args)
            if Path(args.out).exists() and not Path(args.out).is_dir():
                raise ValueError(f'--out {args.out}: a file; expected a folder for the tables and the report')
            results, missing = evaluate_folders(
                ir_dir,
                vi_dir,
                dict(args.fused),
                args.metrics,
                args.protocol,
                args.out,
                allow_missing=args.allow_missing,
                depth16=args.depth16,
                workers=args.workers,
                progress=lambda done, total, text: bar.update(task, completed=done, total=total, description=text),
            )
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            bar.stop()
            sys.exit(f'error: {error}')
    for line in missing:
        print(f'warning: {line}', file=sys.stderr)
    table_of(results).print()
    out = Path(args.out)
    written = [out / 'metrics.csv', out / 'metrics.json']
    if not args.no_report:
        gallery = None if args.gallery == 'all' else int(args.gallery)
        write_html(results, out / 'report.html', gallery, args.picture_size)
        written.append(out / 'report.html')
    print('written:', *written)
