"""Fuse one pair: python demo/image_demo.py VI IR CONFIG CKPT --out FILE [--task seg|det]"""

import argparse
import sys
from pathlib import Path

from mmfusion.apis import FusionInferencer
from mmfusion.cli.common import add_inference_arguments, inference_options, report
from mmfusion.utils import WRITE_SUFFIXES, refuse_overwriting, write_image


def fuse(args):
    """Fuse, write the image, and return its name."""
    for name in ('vi', 'ir'):
        if not getattr(args, name):
            raise ValueError(f'{name}: an empty path; expected an image file.')
        if Path(getattr(args, name)).is_dir():
            raise ValueError(
                f'{getattr(args, name)}: a folder; expected one {"visible" if name == "vi" else "infrared"} image. Fuse '
                'folders by tools/fuse.py CONFIG CKPT --vi DIR --ir DIR --out DIR.'
            )
    if Path(args.out).suffix.lower() not in WRITE_SUFFIXES or Path(args.out).is_dir():
        raise ValueError(f'--out {args.out}: expected a file that ends in one of {", ".join(WRITE_SUFFIXES)}')
    refuse_overwriting(args.out, args.vi, args.ir)
    inferencer = FusionInferencer(**inference_options(args), show_progress=False)
    write_image(args.out, inferencer(args.vi, args.ir))
    return args.out


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('vi', help='visible image')
    parser.add_argument('ir', help='infrared image')
    add_inference_arguments(parser, task=True)
    parser.add_argument('--out', default='fused.png', help='default: %(default)s')
    return report(fuse, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
