"""Errors of `mmfusion align --estimate` on real pairs whose infrared images are displaced by known homographies.

    python benchmarks/alignment.py [--split train] [--frames 8] [--strangers] [--panels DIR]

Infrared images are shifted by up to 10 % of the width, turned by up to 5°, scaled by 0.9 to 1.1, and their corners are moved
by up to 1 % of the width; the error of a pair is the mean distance of the four corners, in pixels of the visible image. The
published alignments are themselves some pixels off, so two errors are given: against the published one, and against the
rig's, estimated from other frames of the same two cameras (MSRS: 40 training pairs; LLVIP: the scene's other pairs). With
``--strangers`` each visible image gets the infrared image of another scene: none should be taken for aligned.
"""

import argparse
import sys
import time
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mmfusion.cli.align import write_panels
from mmfusion.utils import CameraPair
from mmfusion.utils.alignment_search import MIN_CONFIDENCE, find_shift, search

FALSE = 10  # pixels beyond which a confident estimate is a false one
SPLITS = Path(__file__).resolve().parents[1] / 'configs/_base_/datasets/splits'


def find_sets(data, split):
    """Name → files (visible, infrared) of each pair, in order."""
    names = set((SPLITS / f'roadscene_{"val" if split == "test" else "train"}.txt').read_text().split())
    road = [vi for vi in sorted((data / 'RoadScene/crop_LR_visible').glob('*')) if vi.stem in names]
    folders = {'MSRS': data / f'MSRS/{split}', 'LLVIP': data / f'samples/LLVIP/{split}'}
    sets = {name: [(vi, f / 'ir' / vi.name) for vi in sorted((f / 'vi').glob('*'))] for name, f in folders.items()}
    return {**sets, 'RoadScene': [(vi, data / 'RoadScene/cropinfrared' / vi.name) for vi in road]}


@lru_cache(maxsize=64)
def read(files):
    """Visible and infrared image, grey."""
    return tuple(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files)


@lru_cache(maxsize=64)
def rig_alignment(files):
    """What is left between images that are published as aligned: infrared → visible pixels."""
    return search([read(pair) for pair in files]).homography


def rig_of(name, data, split, files, tested):
    """Other pairs of the cameras and, for LLVIP, the scene that took the tested ones; None where there are none."""
    if name == 'MSRS':
        training = find_sets(data, 'train')['MSRS'][1::3]
        return tuple(training[:40])
    if name == 'LLVIP':
        scene = tested[0][0].name[:2]
        return tuple(pair for pair in files if pair[0].name[:2] == scene and pair not in tested)[:12]
    return None


def draw(rng, height, width):
    """A homography from the displaced infrared image's pixels to those of the visible one."""
    angle, scale = np.radians(rng.uniform(-5, 5)), rng.uniform(0.9, 1.1)
    shift, way = rng.uniform(0, 0.1) * width, rng.uniform(0, 2 * np.pi)
    corners = corners_of(height, width)
    centre = corners.mean(0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - centre) @ turn.T + centre + shift * np.array([np.cos(way), np.sin(way)])
    moved += rng.uniform(-0.01, 0.01, (4, 2)) * width
    return np.float64(cv2.getPerspectiveTransform(np.float32(corners), np.float32(moved)))


def corners_of(height, width):
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)


def corner_error(found, true, height, width):
    """Mean distance of the corners, in pixels."""
    moved = [cv2.perspectiveTransform(corners_of(height, width)[None], m)[0] for m in (found, true)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).mean())


def groups_of(name, files, frames, rng, strangers):
    """What is estimated together: one pair each, or several of one rig, drawn at random."""
    if strangers:
        files = [(vi, files[(k + len(files) // 2) % len(files)][1]) for k, (vi, _) in enumerate(files)]
    if frames == 1:
        return [[pair] for pair in files]
    rigs = {'MSRS': [files], 'RoadScene': []}.get(name)
    if rigs is None:
        scenes = [[pair for pair in files if pair[0].name[:2] == s] for s in sorted({p[0].name[:2] for p in files})]
        rigs = [scene for scene in scenes if len(scene) > 1]
    times = 12 // len(rigs) if rigs else 0
    # Of a short scene a part is kept for the reference.
    counts = [min(frames, len(rig) if name == 'MSRS' else (len(rig) + 1) // 2) for rig in rigs]
    return [
        [rig[i] for i in sorted(rng.choice(len(rig), count, replace=False))]
        for rig, count in zip(rigs, counts, strict=True)
        for _ in range(times)
    ]


def measure(name, files, args):
    """Rows of error against the published and the rig's alignment, likelihood, confidence and seconds."""
    rng, rows, moments = np.random.default_rng(args.seed), [], []
    for group in groups_of(name, files, args.frames, rng, args.strangers)[: args.most]:
        frames = [read(pair) for pair in group]
        height, width = frames[0][0].shape
        true = draw(rng, height, width)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        displaced = []
        for vi, ir in frames:
            ir = cv2.resize(ir, (width, height)) if args.strangers else ir
            moved = cv2.warpPerspective(ir, true, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            displaced.append((vi, moved))
        start = time.perf_counter(), time.process_time()
        if args.check:
            shift = find_shift(*displaced[0])
            middle = np.array([[[(width - 1) / 2, (height - 1) / 2]]])
            moved = (middle - cv2.perspectiveTransform(middle, true))[0, 0]
            seconds = time.perf_counter() - start[0], time.process_time() - start[1]
            wrong = shift.orientation != 'upright'
            far = np.hypot(*(moved - [shift.x, shift.y])) + (np.inf if wrong else 0)
            rows.append([far, np.nan, np.nan, shift.confidence, *seconds])
            continue
        match = search(displaced)
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        rig = None if args.strangers else rig_of(name, args.data, args.split, files, group)
        own = rig_alignment(rig) if rig else None
        errors = [corner_error(match.homography, m @ true, height, width) for m in (np.eye(3), own) if m is not None]
        rows.append([*errors, *[np.nan] * (2 - len(errors)), match.likelihood, match.confidence(), *seconds])
        if args.verbose:
            print(name, group[0][0].stem, np.round(rows[-1], 2).tolist(), flush=True)
        if args.panels and len(moments) < 4 and match.confidence() >= MIN_CONFIDENCE:
            pair = CameraPair(match.homography, (height, width), (height, width))
            moments.append(group[0][0].stem)
            shown = [(f'{name}_{moments[-1]}', cv2.cvtColor(displaced[0][0], cv2.COLOR_GRAY2BGR), displaced[0][1])]
            write_panels(args.panels, shown, pair)
    return np.array(rows)


def describe(name, rows):
    """A row of the table."""
    confident = rows[:, 3] >= MIN_CONFIDENCE
    cells = [name, len(rows), int((~confident).sum())]
    for errors in (rows[:, 0], rows[:, 1]):
        known = np.isfinite(errors).any()
        shares = [f'{np.mean(errors <= limit):.0%}' for limit in (2, 5)]
        cells += [f'{np.median(errors):.1f}', *shares] if known else ['-'] * 3
    own = np.where(np.isnan(rows[:, 1]), rows[:, 0], rows[:, 1])
    cells += [int((confident & (own > FALSE)).sum()), f'{np.median(rows[:, 4]):.2f}', f'{np.median(rows[:, 5]):.2f}']
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=Path('data'))
    parser.add_argument('--sets', nargs='+', default=['MSRS', 'LLVIP', 'RoadScene'])
    parser.add_argument('--split', choices=('train', 'test'), default='test')
    parser.add_argument('--frames', type=int, default=1, help='pairs of one rig that are estimated together')
    parser.add_argument('--strangers', action='store_true', help='images of two scenes, which nothing aligns')
    parser.add_argument('--check', action='store_true', help='the check alone: error of the shift in the middle')
    parser.add_argument('--panels', type=Path, help='folder of pictures before and after')
    parser.add_argument('--most', type=int, help='of each set, for a trial')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--verbose', action='store_true')
    args = parser.parse_args(argv)
    cv2.setNumThreads(args.threads)
    print(
        '| set | pairs | refused | published: median | ≤ 2 px | ≤ 5 px | rig: median | ≤ 2 px | ≤ 5 px | false | seconds '
        '| of CPU |\n|---' + '|---' * 11 + '|'
    )
    for name, files in find_sets(args.data, args.split).items():
        if name in args.sets:
            rows = measure(name, files, args)
            if len(rows):
                print(describe(name, rows), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
