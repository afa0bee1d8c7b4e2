"""Write the average (visible + infrared) / 2 of every pair, in colour: the baseline that fusion has to beat.

python demo/average_pairs.py --vi DIR --ir DIR --out DIR
"""

import argparse
import sys
from pathlib import Path

import cv2

from mmfusion.cli.arguments import (
    add_reading_arguments,
    add_source_arguments,
    reading_options,
    source_folders,
    source_patterns,
)
from mmfusion.cli.errors import report
from mmfusion.datasets.transforms.loading import stack_pair
from mmfusion.utils import check_writable, pair_images, read_pair, refuse_overwriting, write_image


def average(args):
    """Average all pairs; returns a sentence about it."""
    folders = source_folders(args)
    refuse_overwriting(args.out, *folders)
    check_writable(args.out)
    pairs = pair_images(*folders, **source_patterns(args))
    reading = reading_options(args, lambda: [ir for *_, ir in pairs])
    for name, *files in pairs:
        vi, ir = read_pair(*files, **reading)
        pair = stack_pair(vi, ir, *files)
        vi, ir = pair[..., :3], cv2.cvtColor(pair[..., 3], cv2.COLOR_GRAY2BGR)
        write_image(args.out / f'{name}.png', cv2.addWeighted(vi, 0.5, ir, 0.5, 0))
    return f'{len(pairs)} images averaged, in {args.out}'


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_arguments(parser)
    parser.add_argument('--out', required=True, type=Path, help='folder to write')
    add_reading_arguments(parser)
    return report(average, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
