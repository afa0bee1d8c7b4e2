"""Write a method as a graph: ONNX, TorchScript or OpenVINO.

    mmfusion export seafusion seafusion.onnx [--weights SeAFusion.pth]
    mmfusion fuse seafusion.onnx --vi VI --ir IR --out OUT

It takes uint8 images of any size, RGB visible and grey infrared, and gives uint8 RGB. See docs/export.md.
"""

import argparse
from pathlib import Path

from mmfusion.utils import pair_images
from mmfusion.utils.configs import EXPORTED, find_config

from .arguments import Overrides, new_parser
from .errors import verb


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    parser.add_argument('config', metavar='METHOD', help='a method (seafusion), the name of a config, or a file')
    parser.add_argument('out', metavar='OUT', help='file: .onnx, .torchscript or .xml (OpenVINO)')
    parser.add_argument('--format', choices=tuple(EXPORTED), help='default: as the suffix says')
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='FILE',
        help="checkpoint, the authors' own files, or 'random'; as in mmfusion fuse",
    )
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('H', 'W'), help='one size that the file takes; default: any'
    )
    parser.add_argument('--float', action='store_true', help='float32 in [0, 1] in and out, in the place of uint8')
    parser.add_argument(
        '--int8', action='store_true', help='compute convolutions in 8 bits; needs pairs to calibrate, --vi and --ir'
    )
    parser.add_argument('--vi', help='with --int8: folder of visible images')
    parser.add_argument('--ir', help='with --int8: folder of infrared images, of the same names')
    parser.add_argument('--pairs', type=int, default=16, help='with --int8: how many are used; default: %(default)s')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser


def run(args: argparse.Namespace) -> str:
    """Export; returns a sentence about how far the file is from PyTorch."""
    find_config(args.config)

    from mmfusion.apis.inferencer import reading_of
    from mmfusion.export import export, format_of
    from mmfusion.models.hub import find_weights, init_model, load_model_config
    from mmfusion.utils.run_record import model_settings

    form = format_of(args.out, args.format)
    if args.int8 and (form != 'onnx' or args.float or not (args.vi and args.ir)):
        raise ValueError('--int8: expected an .onnx file without --float, and calibration pairs by --vi DIR --ir DIR')
    if args.size and min(args.size) < 1:
        raise ValueError(f'--size {args.size[0]} {args.size[1]}: expected a height and a width above 0')
    pairs = pair_images(args.vi, args.ir)[: args.pairs] if args.int8 else []
    cfg = load_model_config(args.config, args.cfg_options)
    weights = args.weights[0] if args.weights and len(args.weights) == 1 else args.weights
    weights = find_weights(cfg) if weights is None else weights
    fuser = init_model(cfg, weights, 'cpu')
    settings = model_settings(find_config(args.config), weights, args.cfg_options)
    differences = export(
        fuser,
        args.out,
        Path(find_config(args.config)).stem,
        not args.float,
        tuple(args.size) if args.size else None,
        reading_of(cfg).get('depth16', 'full'),
        settings,
    )
    unit = 'grey levels beyond rounding' if not args.float else 'of a range of 1'
    found = ', '.join(f'{value:.1e} at {size}' for size, value in differences.items())
    text = f'{args.out}: written; differs from PyTorch by {found} ({unit}).'
    if args.int8:
        from mmfusion.export.quantize import quantize  # needs an optional package

        mean, largest = quantize(args.out, [files[1:] for files in pairs], reading_of(cfg).get('depth16', 'full'))
        text += (
            f' In int8 it differs from float32 by {mean:.2f} grey levels on average over {len(pairs)} pairs, at most '
        )
        text += f'{largest:.0f}.'
    return text


main = verb(run, make_parser)
