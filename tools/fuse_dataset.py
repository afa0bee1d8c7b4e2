"""Write a dataset of fused images, annotations included, that mmseg and mmdet read without mmfusion.

Examples:
    python tools/fuse_dataset.py --dataset MSRSDataset --data-root data/MSRS --out data/MSRS_occo \
        --model occo_msrs --weights occo.pth
    python tools/fuse_dataset.py --dataset M3FDDataset --data-root data/M3FD --out data/M3FD_visible --source visible \
        --lists train=configs/_base_/datasets/splits/m3fd_train.txt test=configs/_base_/datasets/splits/m3fd_val.txt

See docs/inference.md, "Fused datasets".
"""

import argparse
import sys

from mmfusion.apis import FusionInferencer, load_model_config
from mmfusion.apis.inferencer import reading_of
from mmfusion.cli.arguments import Overrides, add_reading_arguments, reading_options
from mmfusion.cli.errors import report
from mmfusion.datasets.export.fused_dataset import FusedDataset
from mmfusion.datasets.export.parts import add_dataset_arguments, open_parts
from mmfusion.datasets.transforms.fuse import SOURCES, plain_image
from mmfusion.models.hub import find_weights
from mmfusion.utils import check_writable
from mmfusion.utils.run_record import model_settings


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    parser.add_argument('--out', required=True, help='folder of the new dataset')
    parser.add_argument(
        '--source', choices=SOURCES, default='fused', help='what the images are; the last three need no model'
    )
    parser.add_argument('--model', help='a method (seafusion), the name of a config of mmfusion (occo_fmb), or a file')
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='FILE',
        help="checkpoint, the authors' own file or files, or the word 'random'; default: the authors' weights",
    )
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument('--tile', nargs=2, type=int, metavar=('H', 'W'), help='fuse window by window')
    add_reading_arguments(parser, sequence=False)
    parser.add_argument('--overwrite', action='store_true', help='make images again that are there already')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config of --model')
    return parser


def check_arguments(args):
    """What is fused needs a model, and nothing else does.

    Raises:
        ValueError: With the options that are missing or too many.
    """
    if args.source == 'fused' and not args.model:
        raise ValueError('--model and --weights say what fuses the images (or --source takes them as they are)')
    if args.source != 'fused' and (args.model or args.weights or args.tile or args.cfg_options):
        raise ValueError(f'--source {args.source} needs no model: leave out --model, --weights, --tile, --cfg-options')


def run(args):
    """Write what is still to be done; returns a sentence about it."""
    check_arguments(args)
    check_writable(args.out)
    settings, reading, weights = dict(source=args.source), reading_options(args), args.weights
    if args.source == 'fused':
        weights = weights or find_weights(load_model_config(args.model, args.cfg_options))
        weights = weights[0] if isinstance(weights, list) and len(weights) == 1 else weights
        settings |= model_settings(args.model, weights, args.cfg_options, args.tile, **reading)
        if not args.dataset_config:
            reading = reading_of(load_model_config(args.model, args.cfg_options)) | reading
    task, parts = open_parts(args, reading=reading)
    writer = FusedDataset(args.out, task, parts, settings, args.overwrite)

    def make(pair, name):
        return plain_image(pair, args.source)

    if args.source == 'fused' and writer.todo():
        make = FusionInferencer(args.model, weights, args.device, args.cfg_options, args.tile).fuse_stacked
    made, kept = writer.write(make)
    return f'{made} images written, {kept} skipped, in {args.out}'


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, make_parser().parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
