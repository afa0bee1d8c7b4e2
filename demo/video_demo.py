"""Fuse two videos, or folders of frames: python demo/video_demo.py VI IR CONFIG CKPT --out fused.mp4 [--task seg|det]"""

import argparse
import sys

from mmfusion.apis import FusionInferencer
from mmfusion.apis.video import fuse_video
from mmfusion.cli.common import add_inference_arguments, inference_options, report


def fuse(args):
    """Fuse, write the video, and return a sentence about it."""
    inferencer = FusionInferencer(**inference_options(args), show_progress=False)
    count = fuse_video(inferencer, args.vi, args.ir, args.out, args.fps, args.batch_size, by_order=args.by_order)
    return f'{args.out}: {count} frames'


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('vi', help='visible video, or folder of frames')
    parser.add_argument('ir', help='infrared video, or folder of frames')
    add_inference_arguments(parser, task=True)
    parser.add_argument('--out', default='fused.mp4', help='.mp4, .avi or .mkv (default: %(default)s)')
    parser.add_argument('--fps', type=float, help="frames a second (default: the videos'; 25 for folders)")
    parser.add_argument('--batch-size', type=int, default=1, help='frames that go to the model together')
    parser.add_argument(
        '--by-order',
        action='store_true',
        help='pair frames by their order, whatever their names or the rates of videos',
    )
    return report(fuse, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
