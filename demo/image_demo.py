"""Fuse one pair: python demo/image_demo.py VI IR CONFIG CKPT --out FILE [--task seg|det]

Of a file with four channels: python demo/image_demo.py CONFIG CKPT --rgbt FILE --out FILE
"""

import argparse
import sys
from pathlib import Path

from mmfusion.cli.arguments import add_inference_arguments, add_pair_arguments, inference_options
from mmfusion.cli.errors import report
from mmfusion.utils import WRITE_SUFFIXES, check_writable, refuse_overwriting, write_image
from mmfusion.utils.configs import find_config


def fuse(args):
    """Fuse, write the image, and return its name."""
    kinds = dict(vi='four-channel') if args.ir is None else dict(vi='visible', ir='infrared')
    for name in kinds:
        if not getattr(args, name):
            raise ValueError(f'{name}: an empty path; expected an image file.')
        if Path(getattr(args, name)).is_dir():
            raise ValueError(
                f'{getattr(args, name)}: a folder; expected one {kinds[name]} image. Fuse folders by mmfusion fuse '
                f'CONFIG CKPT {"--rgbt DIR" if args.ir is None else "--vi DIR --ir DIR"} --out DIR.'
            )
    if Path(args.out).suffix.lower() not in WRITE_SUFFIXES or Path(args.out).is_dir():
        raise ValueError(f'--out {args.out}: expected a file that ends in one of {", ".join(WRITE_SUFFIXES)}')
    refuse_overwriting(args.out, args.vi, args.ir)
    check_writable(args.out, folder=False)
    find_config(args.config)

    from mmfusion.apis import FusionInferencer

    inferencer = FusionInferencer(**inference_options(args), show_progress=False)
    write_image(args.out, inferencer(args.vi, args.ir))
    return args.out


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    four = 'a file whose four channels are R, G, B and thermal'
    add_pair_arguments(parser, argv, 'visible image', 'infrared image', four)
    add_inference_arguments(parser, task=True, sequence=False)
    parser.add_argument('--out', default='fused.png', help='default: %(default)s')
    return report(fuse, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
