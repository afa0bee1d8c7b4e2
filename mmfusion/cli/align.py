"""Find where the infrared image lies in the visible one, for --align.

    mmfusion align --vi VI --ir IR --chessboard 9x6 --out camera_pair.json
    mmfusion align --vi a.png --ir b.png --points points.csv --out camera_pair.json
    mmfusion align --vi VI --ir IR --estimate --out camera_pair.json      # from the images alone
    mmfusion align --check DIR                                            # are these pairs aligned?

VI and IR are images, folders of images of the same names, or videos; of any sizes. See docs/align.md.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmfusion.utils import IMG_SUFFIXES, camera_pair, check_writable, list_images, pair_images, write_image
from mmfusion.utils.alignment import CameraPair, align_by_points, read_points

from .arguments import (
    add_pattern_arguments,
    add_reading_arguments,
    at_least,
    new_parser,
    reading_options,
    source_patterns,
)
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
    parser.add_argument('--vi', help='visible image, folder of images, or video')
    parser.add_argument('--ir', help='infrared ones, of the same names; of any size')
    parser.add_argument('--out', help='file to write, .json')
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
    way.add_argument('--estimate', action='store_true', help='estimated from the images alone; refused where unsure')
    way.add_argument(
        '--check',
        nargs='?',
        const='',
        metavar='DIR',
        help='tell how far pairs are shifted, and write nothing: of --vi and --ir, or of the folders vi and ir in DIR',
    )
    parser.add_argument(
        '--model',
        choices=('similarity', 'affine', 'homography'),
        default='homography',
        help='of --estimate; default: %(default)s',
    )
    parser.add_argument(
        '--field',
        type=float,
        nargs=2,
        default=(0.88, 1.12),
        metavar=('LO', 'HI'),
        help='of --estimate: smallest and largest width that the infrared camera may see, in widths of the visible image '
        '(default: 0.88 1.12)',
    )
    parser.add_argument(
        '--frames',
        type=at_least(1),
        default=16,
        help='of --estimate and --check: pairs that are looked at (default: 16)',
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
    from mmfusion.utils import infrared_array

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
    return read_files(files, most, reading)


def read_files(files: Sequence[tuple], most: int, reading: dict) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Read up to ``most`` (name, visible, infrared), as :func:`read_views` does."""
    from mmfusion.utils import read_infrared, read_visible

    chosen = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int))
    return [
        (files[k][0], read_visible(files[k][1], reading['depth16']), read_infrared(files[k][2], **reading))
        for k in chosen
    ]


def align(args: argparse.Namespace) -> str:
    """Make the file, and return a sentence about it."""
    if args.check is not None:
        return check(args)
    missing = [f'--{name}' for name in ('vi', 'ir', 'out') if getattr(args, name) is None]
    if missing:
        raise ValueError(
            f'{", ".join(missing)}: not given; expected --vi, --ir and --out (only --check DIR is without).'
        )
    out = Path(args.out)
    if out.exists() and not args.overwrite:
        camera_pair(out)  # refuses what is no alignment
        return f'{out} is there and stays (--overwrite makes it again)'
    if out.suffix.lower() != '.json':
        raise ValueError(f'--out {out}: expected a file that ends in .json')
    check_writable(out, folder=False)
    reading = _reading(args)
    if args.estimate:
        from mmfusion.utils.alignment_search import align_by_images

        views = read_views(args, args.frames, reading)
        pair = align_by_images([v[1:] for v in views], args.model, _field(args.field))
        text = f'{args.model} estimated from {len(views)} pairs, confidence {pair.confidence:.2f}'
    elif args.points:
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


def check(args: argparse.Namespace) -> str:
    """Tell of each pair, and of all, how far it is shifted."""
    from mmfusion.comparison.entrants import open_data
    from mmfusion.utils.alignment_search import MIN_CONFIDENCE, find_shift

    given = bool(args.check), args.vi is not None, args.ir is not None
    if given not in ((True, False, False), (False, True, True)):
        raise ValueError('--check: expected a folder with folders vi and ir in it, or --vi and --ir.')
    reading = _reading(args)
    if args.check:
        views = read_files(open_data(args.check, **source_patterns(args)).items, args.frames, reading)
    else:
        views = read_views(args, args.frames, reading)
    shifts = []
    for name, vi, ir in views:
        shifts.append(find_shift(vi, ir))
        print(f'{name}: {shifts[-1]}', flush=True)
    told = [shift for shift in shifts if shift.confidence >= MIN_CONFIDENCE]
    if not told:
        return f'{len(shifts)} pairs: in none can the shift be told from the images.'
    x, y = (np.median([getattr(shift, axis) for shift in told]) for axis in 'xy')
    text = f'{len(told)} of {len(shifts)} pairs tell: the infrared image lies {x:+.0f}, {y:+.0f} pixels off (median)'
    turned = sorted({shift.orientation for shift in told} - {'upright'})
    if turned:
        return f'{text}. WARNING: infrared images are {", ".join(turned)}: turn them first.'
    shifted = sum(shift.visible for shift in told)
    if shifted:
        return (
            f'{text}. WARNING: {shifted} pairs are shifted by more than 2 % of the width: align them (docs/align.md).'
        )
    return f'{text}: no visible shift.'


def _field(field):
    low, high = field
    if not 0.05 <= low <= high <= 2:
        raise ValueError(
            f'--field {low:g} {high:g}: expected two shares of the width, 0.05 to 2, the smaller one first.'
        )
    return low, high


def _reading(args):
    return {'depth16': 'stretch', **reading_options(args, lambda: list_images(args.ir, args.ir_pattern).values())}


def _calibrated(args, reading):
    from mmfusion.utils.calibration import align_by_target

    views = read_views(args, 60, reading)
    kind = 'chessboard' if args.chessboard else 'asymmetric_circles' if args.asymmetric else 'circles'
    pair, count = align_by_target([v[1:] for v in views], *(args.chessboard or args.circles), kind, args.max_error)
    lens = 'lenses and homography' if pair.visible_lens else 'homography without lenses'
    return pair, views, f'{lens} from {count} of {len(views)} views, error {pair.error:.2f} pixels of the visible image'


def write_panels(folder: str | Path, views: Sequence, pair: CameraPair, most: int = 8) -> int:
    """Write pictures of pairs before and after, and count them.

    Infrared is red over the visible image in cyan.
    """
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
