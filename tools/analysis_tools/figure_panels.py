"""Make a figure panel: sources and methods in a grid, with a magnified region.

    python tools/analysis_tools/figure_panels.py --ir data/MSRS/ir --vi data/MSRS/vi \
        --fused A=results/a B=results/b --images 00004N 00131D --box 00004N=200,120,80,60 --out panel.png
"""

import argparse
import sys

import numpy as np

from mmfusion.cli.arguments import add_reading_arguments, add_source_arguments, reading_options, source_folders
from mmfusion.cli.errors import report
from mmfusion.evaluation.report import make_panel, parse_box
from mmfusion.evaluation.report.folders import read_part
from mmfusion.utils import check_writable, list_images, refuse_same, shorten, write_image


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument('--fused', required=True, nargs='+', metavar='NAME=DIR')
    parser.add_argument('--fused-pattern', metavar='PATTERN', help="names of the fused images, such as '{name}_fused'")
    parser.add_argument('--images', required=True, nargs='+', help='names without suffix, one row each')
    parser.add_argument(
        '--box', action='append', default=[], metavar='[NAME=]X,Y,W,H', help='region to magnify, of one image or of all'
    )
    parser.add_argument('--width', type=int, default=320, help='of one image, in pixels')
    parser.add_argument('--per-line', type=int, help='break rows after so many images')
    parser.add_argument('--out', required=True, help='image file to write')
    parser.add_argument('--allow-missing', action='store_true', help='leave the cells of absent images white')
    return parser.parse_args(argv)


def draw(args):
    """Write the panel; returns its file."""
    vi_dir, ir_dir = source_folders(args)
    check_writable(args.out, folder=False)
    folders = {'Infrared': ir_dir or vi_dir, 'Visible': vi_dir}
    for text in args.fused:
        name, sep, folder = text.partition('=')
        if not sep:
            raise ValueError(f'--fused {text!r}: expected NAME=DIR')
        folders[name] = folder
    boxes = {}
    for text in args.box:
        name, _, box = text.rpartition('=')
        for image in [name] if name else args.images:
            boxes.setdefault(image, []).append(parse_box(box))
    if ir_dir is not None and args.vi_pattern == args.ir_pattern:
        refuse_same(vi_dir, ir_dir)
    patterns = {'Infrared': args.ir_pattern if ir_dir else args.vi_pattern, 'Visible': args.vi_pattern}
    columns = {title: list_images(folder, patterns.get(title, args.fused_pattern)) for title, folder in folders.items()}
    reading = reading_options(args, columns['Infrared'].values)
    gaps = {title: [name for name in args.images if name not in files] for title, files in columns.items()}
    gaps = '; '.join(f'{folders[t]} ({t}) lacks {shorten(names)}' for t, names in gaps.items() if names)
    if gaps and not args.allow_missing:
        raise ValueError(f'{gaps}. Add them, or leave their cells white with --allow-missing.')

    def read(title, files):
        parts = {'Infrared': 'ir', 'Visible': 'vi'}
        named = {'ir': None, 'vi': None} | {parts.get(t, f'={t}'): file for t, file in files.items()}
        image = read_part(parts.get(title, f'={title}'), named, **reading)
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)

    panel = make_panel(columns, args.images, boxes, args.width, per_line=args.per_line, read=read)
    write_image(args.out, panel)
    return args.out


def main(argv=None):
    """Run; returns the exit code."""
    return report(draw, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
