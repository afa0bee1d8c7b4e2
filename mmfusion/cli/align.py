"""Find where the infrared camera's image lies in the visible camera's, for --align FILE of the other verbs.

    mmfusion align --vi VI --ir IR --chessboard 9x6 --out camera_pair.json
    mmfusion align --vi a.png --ir b.png --points points.csv --out camera_pair.json

VI and IR are images, folders of images of the same names, or videos; of any sizes. See docs/align.md.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmfusion.utils import IMG_SUFFIXES, camera_pair, check_writable, list_images, pair_images, write_image
from mmfusion.utils.alignment import CameraPair, align_by_points, read_points

from .arguments import add_pattern_arguments, add_reading_arguments, new_parser, reading_options, source_patterns
from .errors import verb


def grid(text: str) -> tuple[int, int]:
    """Read ``COLSxROWS``."""
    found = re.fullmatch(r'(\d+)[x×](\d+)', text)
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r}: expected COLSxROWS, such as 9x6')
    return int(found[1]), int(found[2])


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    parser.add_argument('--vi', required=True, help='visible image, folder of images, or video')
    parser.add_argument('--ir', required=True, help='infrared ones, of the same names; of any size')
    parser.add_argument('--out', required=True, help='file to write, .json')
    parser.add_argument('--overwrite', action='store_true', help='write --out again where it is there')
    parser.add_argument('--panels', metavar='DIR', help='write pictures of pairs before and after there')
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        '--chessboard', type=grid, metavar='COLSxROWS', help='views of a chessboard of so many inner corners'
    )
    way.add_argument('--circles', type=grid, metavar='COLSxROWS', help='views of a grid of circles')
    way.add_argument(
        '--points',
        metavar='FILE',
        help='pairs of points of one scene: x and y in the visible, x and y in the infrared image, a pair a line',
    )
    parser.add_argument(
        '--asymmetric', action='store_true', help='of --circles: every second row is moved by half a step'
    )
    parser.add_argument(
        '--max-error', type=float, default=3.0, help='accepted error, pixels of the visible image (default: 3)'
    )
    add_pattern_arguments(parser)
    add_reading_arguments(parser, align=False)
    return parser


def read_views(args: argparse.Namespace, most: int, reading: dict) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Read up to ``most`` pairs: name, visible H×W×3, infrared H×W, both uint8."""
    from mmfusion.utils import infrared_array, read_infrared, read_visible

    vi, ir = Path(args.vi), Path(args.ir)
    if vi.is_dir() and ir.is_dir():
        files = pair_images(vi, ir, **source_patterns(args))
    elif vi.suffix.lower() in IMG_SUFFIXES:
        files = [(vi.stem, vi, ir)]
    else:
        for source in (vi, ir):  # before torch is imported
            if not source.exists():
                raise FileNotFoundError(f'{source}: no such image, folder or video')
        from mmfusion.apis.video import pair_frames

        frames = pair_frames(vi, ir, by_time=True, **reading)
        chosen = set(np.linspace(0, max(len(frames[0]) - 1, 0), most).round().astype(int).tolist())
        views = []
        for k, (visible, infrared) in enumerate(zip(*frames, strict=False)):
            if k in chosen:
                name = frames[1].name(k)
                views.append(
                    (f'{k:06d}', visible, infrared_array(infrared, name, reading['depth16'], reading.get('ir_range')))
                )
        return views
    chosen = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int))
    return [
        (files[k][0], read_visible(files[k][1], reading['depth16']), read_infrared(files[k][2], **reading))
        for k in chosen
    ]


def align(args: argparse.Namespace) -> str:
    """Make the file, and return a sentence about it."""
    out = Path(args.out)
    if out.exists() and not args.overwrite:
        camera_pair(out)  # refuses what is no alignment
        return f'{out} is there and stays (--overwrite makes it again)'
    if out.suffix.lower() != '.json':
        raise ValueError(f'--out {out}: expected a file that ends in .json')
    check_writable(out, folder=False)
    reading = {'depth16': 'stretch', **reading_options(args, lambda: list_images(args.ir, args.ir_pattern).values())}
    if args.points:
        points = read_points(args.points)
        views = read_views(args, 1, reading)
        _, vi, ir = views[0]
        pair = align_by_points(*points, vi.shape[:2], ir.shape[:2], args.max_error)
        text = f'homography of {len(points[0])} pairs of points, error {pair.error:.2f} pixels of the visible image'
    else:
        pair, views, text = _calibrated(args, reading)
    pair.save(out)
    if args.panels:
        text += f'; {write_panels(args.panels, views, pair)} pictures in {args.panels}'
    return f'{out}: {text}'


def _calibrated(args, reading):
    from mmfusion.utils.calibration import align_by_target

    views = read_views(args, 60, reading)
    kind = 'chessboard' if args.chessboard else 'asymmetric_circles' if args.asymmetric else 'circles'
    pair, count = align_by_target([v[1:] for v in views], *(args.chessboard or args.circles), kind, args.max_error)
    lens = 'lenses and homography' if pair.visible_lens else 'homography without lenses'
    return pair, views, f'{lens} from {count} of {len(views)} views, error {pair.error:.2f} pixels of the visible image'


def write_panels(folder: str | Path, views: Sequence, pair: CameraPair, most: int = 8) -> int:
    """Write pictures of pairs before and after: infrared in red over visible in cyan. Returns how many."""
    import cv2

    for name, vi, ir in views[:most]:
        size = vi.shape[1], vi.shape[0]
        before = cv2.resize(ir, size, interpolation=cv2.INTER_AREA)
        after = pair.warp(ir, vi.shape[:2]) * pair.seen(vi.shape[:2])
        grey = cv2.cvtColor(vi, cv2.COLOR_BGR2GRAY)
        panels = [np.stack([grey, grey, image], 2) for image in (before, after)]
        squares = (np.indices(vi.shape[:2]) // max(16, max(size) // 12)).sum(0) % 2 == 0
        panels.append(np.where(squares[..., None], vi, after[..., None].repeat(3, 2)))
        write_image(Path(folder) / f'{Path(name).name}.png', np.hstack(panels))
    return min(most, len(views))


main = verb(align, make_parser)
