"""Evaluate folders of fused images: a table, metrics.csv, metrics.json and a report.

    mmfusion evaluate --ir data/TNO/ir --vi data/TNO/vi \
        --fused SeAFusion=results/seafusion DenseFuse=results/densefuse --out work_dirs/eval

Run again with the same --out to go on after an interruption, or to add methods and metrics: values whose files have not
changed are taken over.
"""

import argparse
import sys
from pathlib import Path

from mmfusion.comparison.entrants import check_name
from mmfusion.utils import check_writable, follow, list_images, refuse_same, track

from .arguments import (
    add_metrics_arguments,
    add_reading_arguments,
    add_source_arguments,
    at_least,
    new_parser,
    reading_options,
    source_folders,
)
from .errors import report


def method_folder(text):
    """Read ``NAME=DIR``, or ``DIR``, whose last part is the name."""
    name, sep, folder = text.partition('=')
    name, folder = (name, folder) if sep else (Path(text).name, text)
    if not folder:
        raise argparse.ArgumentTypeError(f'{text!r}: expected NAME=DIR')
    try:
        check_name(name, text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from e
    return name, folder


def gallery(text):
    """Read a number of images; None for ``all``."""
    return None if text == 'all' else at_least(0)(text)


def fused_patterns(texts, methods):
    """Read ``[NAME=]PATTERN …``: method, or ``''`` for all, → pattern."""
    patterns = {}
    for text in texts:
        name, equals, pattern = text.partition('=')
        name, pattern = (name, pattern) if equals and '{' not in name else ('', text)
        if name and name not in methods:
            raise ValueError(f'--fused-pattern {text}: no method {name!r} in --fused; there are {", ".join(methods)}.')
        patterns[name] = pattern
    return patterns


def parse_args(argv=None, prog=None):
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    add_source_arguments(parser)
    parser.add_argument('--fused', required=True, nargs='+', type=method_folder, metavar='NAME=DIR')
    parser.add_argument(
        '--fused-pattern',
        nargs='+',
        default=[],
        metavar='[NAME=]PATTERN',
        help="names of the fused images, of all methods or of one, such as '{name}_fused'",
    )
    add_metrics_arguments(parser, default='all')
    parser.add_argument('--out', required=True, help='folder for metrics.csv, metrics.json and report.html')
    parser.add_argument('--allow-missing', action='store_true', help='evaluate what is there where files are missing')
    add_reading_arguments(parser)
    parser.add_argument('--no-report', action='store_true', help='no report.html')
    parser.add_argument(
        '--gallery', type=gallery, default=60, help="images in the report's gallery: a number, or 'all' (default 60)"
    )
    parser.add_argument(
        '--picture-size', type=at_least(1), default=720, help='longest side of a picture in the report (default: 720)'
    )
    args = parser.parse_args(argv)
    names = [name for name, _ in args.fused]
    if len(set(names)) < len(names):
        parser.error(f'--fused: two methods have one name among {", ".join(names)}')
    return args


def evaluate(args):
    """Evaluate, print the table, write files, and say which."""
    vi_dir, ir_dir = source_folders(args)
    patterns = fused_patterns(args.fused_pattern, dict(args.fused))
    patterns.update(vi=args.vi_pattern, ir=args.ir_pattern)
    for folder in filter(None, (vi_dir, ir_dir, *dict(args.fused).values())):
        list_images(folder)  # refuses what is no folder
    if ir_dir and args.vi_pattern == args.ir_pattern:
        refuse_same(vi_dir, ir_dir)
    check_writable(args.out)
    reading = reading_options(args, lambda: list_images(ir_dir or vi_dir, args.ir_pattern).values())

    from mmfusion.evaluation.report import evaluate_folders, table_of, write_html

    with track(desc='evaluating', unit='image') as bar:
        results, missing = evaluate_folders(
            ir_dir,
            vi_dir,
            dict(args.fused),
            args.metrics,
            args.protocol,
            args.out,
            allow_missing=args.allow_missing,
            workers=args.workers,
            progress=follow(bar),
            patterns=patterns,
            **reading,
        )
    for line in missing:
        print(f'warning: {line}', file=sys.stderr)
    table_of(results).print()
    out = Path(args.out)
    written = [out / 'metrics.csv', out / 'metrics.json']
    if not args.no_report:
        write_html(results, out / 'report.html', args.gallery, args.picture_size)
        written.append(out / 'report.html')
    return f'written: {" ".join(map(str, written))}'


def main(argv=None, prog=None):
    """Run; returns the exit code."""
    return report(evaluate, parse_args(argv, prog))
