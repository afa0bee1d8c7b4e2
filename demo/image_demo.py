"""Fuse one pair: python demo/image_demo.py VI IR CONFIG CKPT --out FILE"""

import argparse
import sys

from mmengine.config import DictAction

from mmfusion.apis import FusionInferencer
from mmfusion.utils import write_image


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('vi', help='visible image')
    parser.add_argument('ir', help='infrared image')
    parser.add_argument('config', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument('checkpoint', help="checkpoint file, or the word 'random' for an untrained model")
    parser.add_argument('--out', default='fused.png', help='default: %(default)s')
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    args = parser.parse_args(argv)
    try:
        inferencer = FusionInferencer(args.config, args.checkpoint, args.device, args.cfg_options, show_progress=False)
        write_image(args.out, inferencer(args.vi, args.ir))
    except (ValueError, FileNotFoundError, RuntimeError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 1
    print(args.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
