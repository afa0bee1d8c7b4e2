"""Share of pixels on dark lines of fused images that neither source has.

    python benchmarks/dark_lines.py --vi DIR --ir DIR --fused lite=DIR seafusion=DIR [--worst 4]

A pixel is on a dark line if it is 20 grey levels below both pixels at a distance of 4, along its row or column. It counts as
new if no pixel within 2 is on a line of 8 levels or more in a source. max(vi, ir) is given beside the images.
"""

import argparse

import cv2
import numpy as np

from mmfusion.utils.pairing import list_images, pair_images

DISTANCE, DEEP, SHALLOW = 4, 20, 8


def read(file):
    return cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)


def depth(image):
    """Grey levels by which each pixel is below both at the distance, the deeper of row and column."""
    image = image.astype(np.float32)
    sides = ((np.roll(image, DISTANCE, axis), np.roll(image, -DISTANCE, axis)) for axis in (0, 1))
    return np.maximum(*(np.minimum(*both) - image for both in sides))


def new_lines(fused, vi, ir):
    """Where a dark line of the fused image is new; without the border, which has no second side."""
    had = cv2.dilate(np.maximum(depth(vi), depth(ir)), np.ones((5, 5), np.uint8))
    return ((depth(fused) > DEEP) & (had < SHALLOW))[2 * DISTANCE : -2 * DISTANCE, 2 * DISTANCE : -2 * DISTANCE]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--vi', required=True, help='folder of visible images')
    parser.add_argument('--ir', required=True, help='folder of infrared images, of the same names')
    parser.add_argument('--fused', nargs='+', required=True, metavar='NAME=DIR', help='folders of fused images')
    parser.add_argument('--worst', type=int, default=4, help='pairs to name, those with the most')
    args = parser.parse_args()
    sources = {name: [read(f) for f in pair] for name, *pair in pair_images(args.vi, args.ir)}
    methods = {'max(vi, ir)': {name: np.maximum(*pair) for name, pair in sources.items()}}
    for given in args.fused:
        method, folder = given.split('=', 1)
        methods[method] = {name: read(file) for name, file in list_images(folder).items()}
    for method, images in methods.items():
        shares = {name: 100 * new_lines(images[name], *pair).mean() for name, pair in sources.items()}
        worst = sorted(shares, key=shares.get, reverse=True)[: args.worst]
        print(f'{method:24} {np.mean(list(shares.values())):.3f} %  ', *(f'{n} {shares[n]:.2f}' for n in worst))


if __name__ == '__main__':
    main()
