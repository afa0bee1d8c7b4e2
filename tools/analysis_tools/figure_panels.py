"""Make a figure panel: sources and methods in a grid, with a magnified region.

    python tools/analysis_tools/figure_panels.py --ir data/MSRS/ir --vi data/MSRS/vi \
        --fused A=results/a B=results/b --images 00004N 00131D --box 00004N=200,120,80,60 --out panel.png
"""

import argparse
import sys

from mmfusion.evaluation.report import make_panel, parse_box
from mmfusion.utils import list_images, write_image


def main(argv=None):
    """Write the panel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ir', required=True, help='folder of infrared images')
    parser.add_argument('--vi', required=True, help='folder of visible images')
    parser.add_argument('--fused', required=True, nargs='+', metavar='NAME=DIR')
    parser.add_argument('--images', required=True, nargs='+', help='names without suffix, one row each')
    parser.add_argument(
        '--box', action='append', default=[], metavar='[NAME=]X,Y,W,H', help='region to magnify, of one image or of all'
    )
    parser.add_argument('--width', type=int, default=320, help='of one image, in pixels')
    parser.add_argument('--per-line', type=int, help='break rows after so many images')
    parser.add_argument('--out', required=True, help='image file to write')
    args = parser.parse_args(argv)
    try:
        folders = {'Infrared': args.ir, 'Visible': args.vi}
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
        columns = {title: list_images(folder) for title, folder in folders.items()}
        write_image(args.out, make_panel(columns, args.images, boxes, args.width, per_line=args.per_line))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(args.out)


if __name__ == '__main__':
    main()
