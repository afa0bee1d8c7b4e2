"""Draw feature maps of CLIP and DINOv2 by PCA, as GFFusion's Fig. 3 (sources) and Fig. 6 (fused images).

The first three principal components of the patch tokens, taken over all images together, are red, green and blue. OUT gets
a folder for each prior, and panel.png: a row for each image.

Example:
    python tools/analysis_tools/prior_pca.py data/TNO/vi/01.png data/TNO/ir/01.png --out pca
"""

import argparse
import sys
from pathlib import Path

from mmfusion.cli.errors import report
from mmfusion.evaluation.report import make_panel
from mmfusion.masks.box_pca import to_picture
from mmfusion.masks.draw import draw_features
from mmfusion.masks.feature_pca import build_prior
from mmfusion.models.hub import find_device
from mmfusion.utils import check_writable, read_visible, write_image


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='+', type=Path, help='images: visible, infrared or fused')
    parser.add_argument('--out', required=True, type=Path, help='folder of the pictures')
    parser.add_argument(
        '--clip',
        default='openai',
        help="weights of CLIP ViT-B/16: open_clip's tag, a file, or 'random' (default: openai)",
    )
    parser.add_argument('--clip-layer', type=int, default=11, help='block of CLIP, from 1 (default: 11)')
    parser.add_argument(
        '--dinov2', default='dinov2', help="weights of DINOv2 ViT-B/14: 'dinov2' to download, a file, or 'random'"
    )
    parser.add_argument('--dinov2-layer', type=int, default=12, help='block of DINOv2, from 1 (default: 12)')
    parser.add_argument(
        '--prior',
        nargs='+',
        metavar='NAME=FILE',
        help='other priors in place of these two: a title, and a config file with prior=dict(type=…)',
    )
    parser.add_argument('--width', type=int, default=320, help='of an image in the panel (default: 320)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    return parser.parse_args(argv)


def sources(args):
    """Title → config (or config file) of each prior that the command line asks for.

    Raises:
        ValueError: ``--prior`` is not NAME=FILE.
    """
    if not args.prior:
        clip = dict(type='mmfusion.CLIPPrior', pretrained=args.clip, layers=(args.clip_layer,))
        return {
            'CLIP': clip,
            'DINOv2': dict(type='mmfusion.DINOv2Prior', weights=args.dinov2, layers=(args.dinov2_layer,)),
        }
    pairs = [text.partition('=') for text in args.prior]
    wrong = [text for text, (name, _, file) in zip(args.prior, pairs, strict=True) if not (name and file)]
    if wrong:
        raise ValueError(f'--prior {wrong[0]!r}: expected NAME=FILE')
    return {name: file for name, _, file in pairs}


def draw(args):
    """Write the pictures and the panel; returns the panel's file."""
    # Fig. 3 has both images of a pair, which have one name: the folder tells them apart.
    rows = {f'{file.parent.name}_{file.stem}': file for file in args.images}
    if len(rows) < len(args.images):
        raise ValueError('two of the images have the same name, in folders of the same name')
    check_writable(args.out)
    args.device = str(find_device(args.device))
    pictures = [to_picture(read_visible(file), args.device) for file in args.images]
    columns = {'image': rows}
    for title, source in sources(args).items():
        columns[title] = {}
        for row, drawn in zip(rows, draw_features(build_prior(source, args.device), pictures, 'pca'), strict=True):
            columns[title][row] = args.out / title / f'{row}.png'
            write_image(columns[title][row], drawn)
    write_image(args.out / 'panel.png', make_panel(columns, list(rows), width=args.width))
    return args.out / 'panel.png'


def main(argv=None):
    """Run; returns the exit code."""
    return report(draw, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
