"""Lay out the scenes of the TNO Image Fusion Dataset: OUT/vi/NAME.png and OUT/ir/NAME.png, 55 pairs.

The archive (https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029) is a tree of scenes, each with files of
its own names. A table says which two files are a scene's visible and thermal image. Film frames, scenes without a thermal
image, and fused or near-infrared images stay behind. See configs/_base_/datasets/splits/README.md.

Example:
    python tools/dataset_converters/tno.py TNO_Image_Fusion_Dataset --out data/TNO_scenes
"""

import argparse
import csv
import io
import sys
from pathlib import Path

from mmfusion.cli.errors import report
from mmfusion.utils import read_infrared, read_text, read_visible, refuse_overwriting, write_image

SCENES = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets/splits/tno_scenes.csv'


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tree', type=Path, help='folder that holds Athena_images, DHV_images, Triclobs_images and tank')
    parser.add_argument('--out', required=True, type=Path, help='folder of the pairs')
    parser.add_argument('--scenes', type=Path, default=SCENES, help='table: name, visible, infrared, first_row')
    parser.add_argument('--allow-missing', action='store_true', help='leave out scenes that the tree lacks')
    return parser


def read_scenes(file):
    """Rows of the table: name, visible and infrared file in the tree, and the infrared image's first row that counts.

    Raises:
        ValueError: If a column is missing, or a row has no whole number for ``first_row``.
    """
    rows = list(csv.DictReader(io.StringIO(read_text(file))))
    for k, row in enumerate(rows, 2):
        lacking = [key for key in ('name', 'visible', 'infrared', 'first_row') if not row.get(key)]
        if lacking or not row['first_row'].isdecimal():
            raise ValueError(
                f'{file}, line {k}: expected name,visible,infrared,first_row; found {row}. Correct the line.'
            )
    return rows


def convert(args):
    """Write the pairs; returns a sentence for the user.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If the images of a pair differ in size.
    """
    rows = read_scenes(args.scenes)
    missing = [f for row in rows for f in (row['visible'], row['infrared']) if not (args.tree / f).is_file()]
    if missing and not args.allow_missing:
        more = ' and others' if len(missing) > 3 else ''
        raise FileNotFoundError(
            f'{args.tree}: {len(missing)} of {2 * len(rows)} files are missing: {", ".join(missing[:3])}{more}. Expected '
            'the tree as it is distributed; leave these scenes out with --allow-missing.'
        )
    rows = [row for row in rows if not {row['visible'], row['infrared']} & set(missing)]
    for row in rows:
        vi, ir = read_visible(args.tree / row['visible']), read_infrared(args.tree / row['infrared'])
        first = int(row['first_row'])
        if first:  # more rows than the visible image has
            ir = ir[first : first + len(vi)]
        if vi.shape[:2] != ir.shape:
            raise ValueError(
                f'{args.tree / row["visible"]} is {vi.shape[1]}×{vi.shape[0]} but {row["infrared"]} '
                f'{ir.shape[1]}×{ir.shape[0]} (width×height); expected one size. Is this file the published one?'
            )
        for part, image in (('vi', vi), ('ir', ir)):
            target = args.out / part / f'{row["name"]}.png'
            refuse_overwriting(target, args.tree / row['visible'], args.tree / row['infrared'])
            write_image(target, image)
    return f'{args.out}: {len(rows)} pairs'


def main(argv=None):
    """Run; returns the exit code."""
    return report(convert, make_parser().parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
