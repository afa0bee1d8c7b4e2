"""Fuse two videos, or folders of frames: python demo/video_demo.py VI IR CONFIG CKPT --out fused.mp4 [--task seg|det]

A folder of frames of four channels: python demo/video_demo.py CONFIG CKPT --rgbt DIR. The same is `mmfusion video`.
"""

import argparse
import sys

from mmfusion.cli.arguments import add_inference_arguments, add_pair_arguments, add_pattern_arguments
from mmfusion.cli.errors import report
from mmfusion.cli.video import add_video_arguments, fuse


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    four = 'a folder of frames whose four channels are R, G, B and thermal'
    source = 'video, folder of frames, number of a camera, or address'
    add_pair_arguments(parser, argv, f'visible {source}', f'infrared {source}', four)
    add_inference_arguments(parser, task=True)
    parser.add_argument('--out', default='fused.mp4', help='.mp4, .avi or .mkv (default: %(default)s)')
    parser.add_argument('--window', action='store_true', help='show the fused frames as they come')
    add_pattern_arguments(parser)
    add_video_arguments(parser)
    return report(fuse, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
