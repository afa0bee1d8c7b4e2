"""Where the infrared image lies in the visible one: the file of a camera pair, and warping by it."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .writing import write_bytes

_KEYS = ('homography', 'visible_size', 'infrared_size')
_EXPECTED = 'expected what CameraPair.save writes'


@dataclass(frozen=True)
class CameraPair:
    """The homography of a visible and an infrared camera that do not move against each other.

    It holds for one distance: for objects nearer or farther the cameras' distance shows as a shift (parallax).

    Args:
        homography (np.ndarray): 3×3, pixels of the infrared image → pixels of the visible one (x, y; the centre of the upper
            left pixel is 0, 0).
        visible_size, infrared_size (tuple[int, int]): Height and width for which it holds.
        error (float, optional): Root mean square distance of the points it was made from, in pixels of the visible image.

    Raises:
        ValueError: If the homography is not 3×3, not finite, or maps the image to a line or through infinity.
    """

    homography: np.ndarray
    visible_size: tuple[int, int]
    infrared_size: tuple[int, int]
    error: float | None = None

    def __post_init__(self):
        matrix = np.asarray(self.homography, np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError(f'homography: expected 3×3 finite numbers, got {self.homography!r}')
        height, width = self.infrared_size
        box = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
        if abs(np.linalg.det(matrix)) < 1e-12 or not (np.all(box[:, 2] > 0) or np.all(box[:, 2] < 0)):
            raise ValueError(
                f'homography: {matrix.tolist()} turns the infrared image into a line or through infinity; measure it again'
            )
        object.__setattr__(self, 'homography', matrix / matrix[2, 2])

    def save(self, path: str | Path) -> None:
        """Write the pair to a JSON file."""
        data = dict(
            homography=self.homography.tolist(),
            visible_size=list(self.visible_size),
            infrared_size=list(self.infrared_size),
            error=self.error,
        )
        write_bytes(path, (json.dumps(data, indent=2) + '\n').encode())

    @classmethod
    def load(cls, path: str | Path) -> 'CameraPair':
        """Read a pair from a JSON file.

        Raises:
            ValueError: If the file is missing, damaged, or lacks a key.
        """
        try:
            data = json.loads(Path(path).read_text(encoding='utf-8'))
        except (OSError, ValueError) as e:
            raise ValueError(f'{path}: cannot be read as an alignment ({e}); {_EXPECTED}.') from e
        missing = [key for key in _KEYS if not isinstance(data, dict) or key not in data]
        if missing:
            raise ValueError(f'{path}: no {", ".join(missing)}; {_EXPECTED}.')
        sizes = [data[key] for key in _KEYS[1:]]
        for key, size in zip(_KEYS[1:], sizes, strict=True):
            if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
                raise ValueError(f'{path}: {key} is {size!r}; expected [height, width] in pixels.')
        try:
            return cls(np.array(data['homography'], np.float64), *map(tuple, sizes), data.get('error'))
        except (TypeError, ValueError) as e:
            raise ValueError(f'{path}: {e}') from e

    def warp(self, ir: np.ndarray, visible_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Warp an infrared image into the visible image's frame.

        Both images may be scaled against the sizes of this pair, with the same shape.

        Args:
            ir (np.ndarray): H×W uint8.
            visible_size (tuple[int, int]): Height and width of the visible image.

        Returns:
            tuple[np.ndarray, np.ndarray]: Infrared, H×W uint8, 0 where the camera does not see; and a mask, H×W uint8, 1
            where it does.

        Raises:
            ValueError: If an image has another shape than those that the pair was made for.
        """
        to_visible = _scaling(self.visible_size, visible_size, 'visible')
        to_infrared = _scaling(self.infrared_size, ir.shape[:2], 'infrared')
        matrix = to_visible @ self.homography @ np.linalg.inv(to_infrared)
        size = visible_size[1], visible_size[0]
        # Without smoothing, an image that becomes much smaller gets false edges.
        shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
        if shrink > 1.5:
            ir = cv2.GaussianBlur(ir, (0, 0), 0.5 * np.sqrt(shrink**2 - 1))
        full = np.full(ir.shape, 255, np.uint8)
        # A pixel that is mixed with what is outside is not of the picture.
        mask = (cv2.warpPerspective(full, matrix, size, flags=cv2.INTER_LINEAR) == 255).astype(np.uint8)
        return cv2.warpPerspective(ir, matrix, size, flags=cv2.INTER_LINEAR) * mask, mask


def _scaling(known, given, kind):
    """Pixels of a known size → pixels of a given size, 3×3."""
    (height, width), (h, w) = known, given
    if abs(h / height * width / w - 1) > 0.01:
        raise ValueError(
            f'the {kind} image is {w}×{h} but the alignment was made for {width}×{height} (width×height), another shape. '
            'Make the alignment with images of this size.'
        )
    matrix = np.diag([w / width, h / height, 1.0])
    matrix[:2, 2] = (w / width - 1) / 2, (h / height - 1) / 2
    return matrix


def read_points(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read pairs of points: four numbers a line, x and y in the visible, x and y in the infrared image.

    Args:
        path (str | Path): Text; numbers are separated by commas, semicolons or blanks. Empty lines, lines that begin with
            ``#``, and a first line of words are left out.

    Returns:
        tuple[np.ndarray, np.ndarray]: Points in the visible and in the infrared image, N×2 float64.

    Raises:
        ValueError: If the file is missing, or a line holds something else.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except (OSError, ValueError) as e:
        raise ValueError(f'{path}: cannot be read as a list of points ({e}).') from e
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        cells = next(csv.reader([' '.join(line.replace(',', ' ').replace(';', ' ').split())], delimiter=' '))
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            row = []
        if not row and not rows and number == 1:
            continue
        if len(row) != 4 or not np.isfinite(row).all():
            raise ValueError(
                f'{path}, line {number}: {line.strip()!r}; expected four numbers: x and y in the visible '
                'image, x and y in the infrared one.'
            )
        rows.append(row)
    points = np.array(rows, np.float64).reshape(-1, 4)
    return points[:, :2], points[:, 2:]


def align_by_points(
    vi_points: np.ndarray,
    ir_points: np.ndarray,
    visible_size: tuple[int, int],
    infrared_size: tuple[int, int],
    max_error: float = 3.0,
) -> CameraPair:
    """Fit the homography of a camera pair to pairs of points.

    Args:
        vi_points, ir_points (np.ndarray): N×2, N ≥ 4: the same places in both images.
        visible_size, infrared_size (tuple[int, int]): Height and width of the images.
        max_error (float): Root mean square distance that is accepted, in pixels of the visible image.

    Raises:
        ValueError: If there are fewer than 4 pairs, they lie on a line, or the fit is worse than ``max_error``.
    """
    if len(vi_points) != len(ir_points) or len(vi_points) < 4:
        raise ValueError(
            f'{len(vi_points)} points in the visible and {len(ir_points)} in the infrared image; expected at least 4 pairs, '
            'better 10 and more, spread over the whole image.'
        )
    matrix, _ = cv2.findHomography(np.float64(ir_points), np.float64(vi_points), 0)
    if matrix is None:
        raise ValueError('no homography fits the points: they lie on a line. Choose them spread over the image.')
    pair = CameraPair(matrix, tuple(visible_size), tuple(infrared_size))
    mapped = cv2.perspectiveTransform(np.float64(ir_points)[None], pair.homography)[0]
    distance = np.linalg.norm(mapped - vi_points, axis=1)
    error = float(np.sqrt(np.mean(distance**2)))
    if not error <= max_error:
        worst = int(distance.argmax())
        raise ValueError(
            f'the points fit one homography with an error of {error:.1f} pixels; at most {max_error:g} are accepted. '
            f'The worst is pair {worst + 1}, {distance[worst]:.1f} pixels off: correct it, or choose points at one distance.'
        )
    return CameraPair(pair.homography, pair.visible_size, pair.infrared_size, error)
