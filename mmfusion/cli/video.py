"""Fuse two videos, folders of frames, cameras or streams.

    mmfusion video seafusion --vi vi.mp4 --ir ir.mp4 --out fused.mp4
    mmfusion video seafusion --vi 0 --ir rtsp://192.168.1.20/thermal --window

Cameras are given by number, streams by address: both are read side by side, and the latest pair is fused; q in the window,
or Ctrl-C, ends. See docs/inference.md.
"""

from mmfusion.utils import check_writable
from mmfusion.utils.configs import find_config, is_exported

from .arguments import (
    add_inference_arguments,
    add_source_arguments,
    at_least,
    inference_options,
    new_parser,
    source_folders,
    source_patterns,
)
from .errors import verb


def make_parser(prog=None):
    """The command line."""
    parser = new_parser(prog, __doc__)
    add_inference_arguments(parser, task=True)
    source = 'video, folder of frames, number of a camera, or address of a stream (rtsp://…)'
    add_source_arguments(parser, f'visible {source}', f'infrared {source}')
    parser.add_argument('--out', help='.mp4, .avi or .mkv; or an address (udp://…), to which ffmpeg sends the stream')
    parser.add_argument('--window', action='store_true', help='show the fused frames as they come')
    add_video_arguments(parser)
    return parser


def add_video_arguments(parser):
    """Add the options of pairing and of the rate."""
    parser.add_argument('--fps', type=float, help="frames a second (default: the videos'; 25 for folders and streams)")
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='frames that go to the model together')
    parser.add_argument(
        '--by-order',
        action='store_true',
        help='pair frames by their order, whatever their names or the rates of videos',
    )
    parser.add_argument(
        '--by-time', action='store_true', help='pair each visible frame with the infrared one that is nearest in time'
    )
    parser.add_argument('--max-frames', type=at_least(1), help='end after so many fused frames')
    live = parser.add_argument_group('cameras and streams')
    live.add_argument(
        '--live', action='store_true', help='play files in real time, too, as if they were cameras; implied by a camera'
    )
    live.add_argument(
        '--max-gap',
        type=float,
        default=0.5,
        help='seconds that the frames of a pair may lie apart; default: %(default)s',
    )


def fuse(args):
    """Fuse, and return a sentence about it."""
    if 'rgbt' in args:
        args.vi, args.ir = source_folders(args)
    if not args.window and not args.out:
        raise ValueError('--out: expected a video to write (.mp4, .avi, .mkv), or --window.')
    sent = '://' in (args.out or '')
    if args.out and not sent:
        check_writable(args.out, folder=False)
    if not is_exported(args.config):
        find_config(args.config)

    from mmfusion.apis import FusionInferencer
    from mmfusion.apis.stream import fuse_stream, is_live
    from mmfusion.apis.video import Frames, check_video, fuse_video, pair_frames

    if args.out and not sent:
        check_video(args.out, args.fps)
    live = args.live or args.window or sent or is_live(args.vi) or (args.ir is not None and is_live(args.ir))
    if live and args.ir is None:
        raise ValueError('--rgbt: frames of four channels are read from a folder, not in real time.')

    def sample():
        if args.ir is None:
            raise ValueError('--per-sequence needs infrared frames of their own; with --rgbt give --ir-range LO HI.')
        if is_live(args.ir):
            raise ValueError('--per-sequence: a stream cannot be read beforehand; give its range by --ir-range LO HI.')
        return Frames(args.ir, infrared=True, ir_colormap=args.ir_colormap).sample()

    if not live:  # refuses what is no video before a model is built
        pair_frames(args.vi, args.ir, args.by_order, args.by_time, **source_patterns(args))
    options = inference_options(args, sample)
    inferencer = FusionInferencer(**options, show_progress=False)
    if live:
        if args.by_order or args.by_time or args.vi_pattern or args.ir_pattern:
            raise ValueError(
                '--by-order, --by-time and patterns are for files; the latest frames of streams are paired.'
            )
        summary = fuse_stream(
            inferencer, args.vi, args.ir, args.out, args.window, args.fps, args.max_frames, args.max_gap, say=print
        )
        return f'{args.out}: {summary}' if args.out else str(summary)
    count = fuse_video(
        inferencer,
        args.vi,
        args.ir,
        args.out,
        args.fps,
        args.batch_size,
        by_order=args.by_order,
        max_frames=args.max_frames,
        by_time=args.by_time,
        **source_patterns(args),
    )
    return f'{args.out}: {count} frames'


main = verb(fuse, make_parser)
