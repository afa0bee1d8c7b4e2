"""Print the table of a metrics.json (tools/evaluate.py) as LaTeX or Markdown, split by day and night where names say so.

python tools/analysis_tools/metric_table.py work_dirs/eval/metrics.json --format latex --metrics EN,SF,VIF
"""

import argparse
import sys
from dataclasses import replace

from mmfusion.cli.arguments import at_least
from mmfusion.cli.errors import report
from mmfusion.evaluation import resolve_metrics
from mmfusion.evaluation.report import load, split_day_night, summarize, table_of


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='metrics.json')
    parser.add_argument('--format', choices=('latex', 'markdown'), default='markdown')
    parser.add_argument('--metrics', help='names separated by commas (default: all that were computed)')
    parser.add_argument('--digits', type=at_least(1), default=4, help='significant digits')
    parser.add_argument('--no-split', action='store_true', help='one table, whatever the names say')
    return parser.parse_args(argv)


def show(args):
    """Print one table, and with day and night two more.

    Raises:
        ValueError: If a metric is unknown, or the file has none of it.
    """
    results = load(args.file)
    if args.metrics:
        names = [spec.name for spec in resolve_metrics(args.metrics)]
        absent = [name for name in names if name not in results.metrics]
        if absent:
            raise ValueError(f'{args.file}: has no {", ".join(absent)}; it has {", ".join(results.metrics)}')
        results = replace(results, metrics=names)
    parts = {'': results.images}
    if not args.no_split:
        parts |= split_day_night(results.images)
    for part, images in parts.items():
        title = f'{len(images)} {part} images'.replace('  ', ' ') + f', protocol {results.protocol}'
        table = replace(table_of(results, summarize(results, images), args.digits), caption=title)
        if args.format == 'latex':
            print(table.latex(f'tab:fusion-{part}' if part else 'tab:fusion'))
        else:
            print(f'{title}\n\n{table.markdown()}')
        print()


def main(argv=None):
    """Run; returns the exit code."""
    return report(show, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
