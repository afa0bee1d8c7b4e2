"""Write the average (visible + infrared) / 2 of every pair, in colour: the baseline that fusion has to beat.

python demo/average_pairs.py --vi DIR --ir DIR --out DIR
"""

import argparse
from pathlib import Path

import cv2

from mmfusion.utils import pair_images, read_infrared, read_visible, write_image


def main(argv=None):
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vi', required=True, help='folder of visible images')
    parser.add_argument('--ir', required=True, help='folder of infrared images, of the same names')
    parser.add_argument('--out', required=True, type=Path, help='folder to write')
    args = parser.parse_args(argv)
    for name, vi, ir in pair_images(args.vi, args.ir):
        vi, ir = read_visible(vi), cv2.cvtColor(read_infrared(ir), cv2.COLOR_GRAY2BGR)
        write_image(args.out / f'{name}.png', cv2.addWeighted(vi, 0.5, ir, 0.5, 0))


if __name__ == '__main__':
    main()
