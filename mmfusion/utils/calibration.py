"""Calibration of two cameras by a target that both see."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from .alignment import CameraPair, Lens, align_by_points

# Views from which a lens can be told.
_LENS_VIEWS = 8
# A lens that lowers the error by less than this factor would only add noise beyond the outermost points.
_LENS_GAIN = 0.8
_SIDE = 1280


def find_target(image: np.ndarray, columns: int, rows: int, kind: str = 'chessboard') -> np.ndarray | None:
    """Find a target's points in an image: (columns · rows)×2, row by row.

    A board may be dark on bright or, as in infrared images, bright on dark. None if it is not seen as a whole.

    Args:
        image: H×W or H×W×3 uint8.
        columns, rows: Inner corners of a chessboard, or circles of a grid.
        kind: ``'chessboard'``, ``'circles'``, or ``'asymmetric_circles'``.

    Raises:
        ValueError: If the kind is another one, or there are fewer than 3 columns or rows.
    """
    if min(columns, rows) < 3:
        raise ValueError(f'a target of {columns}×{rows} points; expected at least 3×3.')
    if kind not in ('chessboard', 'circles', 'asymmetric_circles'):
        raise ValueError(f"kind is {kind!r}; expected 'chessboard', 'circles' or 'asymmetric_circles'.")
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # Boards are found in small images, too: a thermal camera has few pixels, and what is found is refined below a pixel.
    factor = 2 if max(grey.shape) < _SIDE / 2 else 1
    grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else grey
    grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX)
    for picture in (grey, 255 - grey):
        if kind == 'chessboard':
            found, points = cv2.findChessboardCornersSB(picture, (columns, rows), flags=cv2.CALIB_CB_EXHAUSTIVE)
        else:
            flag = cv2.CALIB_CB_SYMMETRIC_GRID if kind == 'circles' else cv2.CALIB_CB_ASYMMETRIC_GRID
            found, points = cv2.findCirclesGrid(picture, (columns, rows), flags=flag | cv2.CALIB_CB_CLUSTERING)
        if found:
            points = points.reshape(-1, 2).astype(np.float64)
            return (points + 0.5) / factor - 0.5
    return None


def align_by_target(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    columns: int,
    rows: int,
    kind: str = 'chessboard',
    max_error: float = 3.0,
) -> tuple[CameraPair, int]:
    """Fit a camera pair's lenses and homography to views of one target.

    The target should be about as far away as what will be filmed, tilted in some views, and seen in all parts of the
    image. From 8 views on, the lenses are calibrated, and kept where they lower the error.

    Args:
        pairs: Visible (H×W×3 or H×W) and infrared (H×W) uint8 images of one moment each.
        columns, rows, kind: As in :func:`find_target`.
        max_error: Root mean square distance that is accepted, in pixels of the visible image.

    Returns:
        The pair, and the number of views in which both cameras see the target.

    Raises:
        ValueError: If no view shows the target in both, sizes change, or the error is larger than ``max_error``.
    """
    views, sizes, count, alone = [], set(), 0, [0, 0]
    for vi, ir in pairs:
        count += 1
        sizes.add((vi.shape[:2], ir.shape[:2]))
        if len(sizes) > 1:
            raise ValueError(f'views of several sizes, {sorted(sizes)} (height, width); expected one of each camera.')
        found = [find_target(image, columns, rows, kind) for image in (vi, ir)]
        for k in (0, 1):
            alone[k] += found[k] is not None
        if found[0] is not None and found[1] is not None:
            views.append((found[0], _in_order(*found)))
    if not views:
        raise ValueError(
            f'{count} views: a {kind} of {columns}×{rows} points is seen in {alone[0]} visible and {alone[1]} infrared '
            'images, and in no pair by both. Check the numbers (of inner corners), warm the board, and film it as a whole.'
        )
    visible_size, infrared_size = next(iter(sizes))
    pair = _fit(views, visible_size, infrared_size, None, None, np.inf if len(views) >= _LENS_VIEWS else max_error)
    if len(views) >= _LENS_VIEWS:
        grid = _grid(columns, rows, kind)
        lenses = [
            _lens([view[k] for view in views], grid, size) for k, size in enumerate((visible_size, infrared_size))
        ]
        with_lenses = _fit(views, visible_size, infrared_size, *lenses, np.inf)
        if with_lenses.error < _LENS_GAIN * pair.error:
            pair = with_lenses
    if not pair.error <= max_error:
        raise ValueError(
            f'the {len(views)} views fit one homography with an error of {pair.error:.1f} pixels; at most {max_error:g} are '
            'accepted. Film the board at one distance, that of the scene; or leave out views that are blurred.'
        )
    return pair, len(views)


def _in_order(vi: np.ndarray, ir: np.ndarray) -> np.ndarray:
    """Order infrared points as the visible ones: a turned board looks alike."""
    return ir if np.dot(vi[-1] - vi[0], ir[-1] - ir[0]) > 0 else ir[::-1]


def _fit(views: Sequence, visible_size, infrared_size, visible_lens, infrared_lens, max_error) -> CameraPair:
    vi, ir = (np.concatenate([view[k] for view in views]) for k in (0, 1))
    vi = visible_lens.undistort(vi) if visible_lens else vi
    ir = infrared_lens.undistort(ir) if infrared_lens else ir
    pair = align_by_points(vi, ir, visible_size, infrared_size, max_error)
    return replace(pair, visible_lens=visible_lens, infrared_lens=infrared_lens)


def _grid(columns: int, rows: int, kind: str) -> np.ndarray:
    """Points of a target in its plane, N×3, a distance of 1."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    if kind == 'asymmetric_circles':
        x = 2 * x + y % 2
    return np.stack([x, y, np.zeros_like(x)], 2).reshape(-1, 3)


def _lens(points: Sequence[np.ndarray], grid: np.ndarray, size: tuple[int, int]) -> Lens:
    # The third radial and the tangential terms follow the noise of a few views.
    flags = cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    _, matrix, distortion, *_ = cv2.calibrateCamera(
        [grid] * len(points), [p.astype(np.float32)[:, None] for p in points], size[::-1], None, None, flags=flags
    )
    return Lens(matrix, distortion.ravel())
