"""Fuse two videos, or folders of frames: python demo/video_demo.py VI IR CONFIG CKPT --out fused.mp4 [--task seg|det]

Of a folder of frames with four channels: python demo/video_demo.py CONFIG CKPT --rgbt DIR --out fused.mp4
"""

import argparse
import sys

from mmfusion.cli.common import add_inference_arguments, add_pair_arguments, at_least, inference_options, report
from mmfusion.utils import check_writable
from mmfusion.utils.configs import find_config


def fuse(args):
    """Fuse, write the video, and return a sentence about it."""
    check_writable(args.out, folder=False)
    find_config(args.config)

    from mmfusion.apis import FusionInferencer
    from mmfusion.apis.video import check_video, fuse_video, pair_frames

    check_video(args.out, args.fps)
    pair_frames(args.vi, args.ir, args.by_order)  # refuses what is no video before a model is built
    inferencer = FusionInferencer(**inference_options(args), show_progress=False)
    count = fuse_video(inferencer, args.vi, args.ir, args.out, args.fps, args.batch_size, by_order=args.by_order)
    return f'{args.out}: {count} frames'


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    four = 'a folder of frames whose four channels are R, G, B and thermal'
    add_pair_arguments(parser, argv, 'visible video, or folder of frames', 'infrared video, or folder of frames', four)
    add_inference_arguments(parser, task=True)
    parser.add_argument('--out', default='fused.mp4', help='.mp4, .avi or .mkv (default: %(default)s)')
    parser.add_argument('--fps', type=float, help="frames a second (default: the videos'; 25 for folders)")
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='frames that go to the model together')
    parser.add_argument(
        '--by-order',
        action='store_true',
        help='pair frames by their order, whatever their names or the rates of videos',
    )
    return report(fuse, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
