"""Where the infrared image lies in the visible one, and warping."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .writing import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

_KEYS = ('homography', 'visible_size', 'infrared_size')
_EXPECTED = 'expected a file of `mmfusion align`'


@dataclass(frozen=True)
class Lens:
    """The lens of a camera, as OpenCV calibrates it.

    ``matrix`` is 3×3, focal lengths and centre in pixels; ``distortion`` holds OpenCV's coefficients, 4 and more.

    Raises:
        ValueError: If one has another shape, or is not finite.
    """

    matrix: np.ndarray
    distortion: np.ndarray

    def __post_init__(self):
        for name, shape in (('matrix', (3, 3)), ('distortion', (-1,))):
            try:
                value = np.asarray(getattr(self, name), np.float64).reshape(shape)
            except (TypeError, ValueError) as e:
                raise ValueError(f'lens: {name} is {getattr(self, name)!r}; expected numbers of shape {shape}') from e
            if not np.isfinite(value).all() or (name == 'distortion' and len(value) not in (4, 5, 8, 12, 14)):
                raise ValueError(f'lens: {name} is {value.tolist()}; expected what OpenCV calibrates')
            object.__setattr__(self, name, value)

    def undistort(self, points: np.ndarray) -> np.ndarray:
        """Map pixels, N×2, to those of a camera with a perfect lens."""
        return cv2.undistortPoints(np.float64(points)[:, None], self.matrix, self.distortion, P=self.matrix)[:, 0]

    def distort(self, points: np.ndarray) -> np.ndarray:
        """Map pixels of a perfect lens, N×2, to this lens's.

        NaN for rays that the lens cannot take.
        """
        rays = np.c_[points, np.ones(len(points))] @ np.linalg.inv(self.matrix).T
        radii = np.hypot(*(rays[:, :2] / rays[:, 2:]).T)
        # Beyond some radius the polynomial comes back into the image, which no lens does.
        steps = np.linspace(0, radii.max(initial=0), 1024)
        axis = np.stack([steps, 0 * steps, 0 * steps + 1], 1)
        turns = np.flatnonzero(np.diff(self._project(np.eye(3), axis)[:, 0]) < 0)
        limit = steps[turns[0]] if len(turns) else np.inf
        return np.where(radii[:, None] <= limit, self._project(self.matrix, rays), np.nan)

    def _project(self, matrix, rays):
        return cv2.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), matrix, self.distortion)[0][:, 0]


@dataclass(frozen=True)
class CameraPair:
    """Where an infrared camera's image lies in a visible camera's.

    It holds for one distance: for objects nearer or farther the cameras' distance shows as a shift (parallax).

    Args:
        homography (np.ndarray): 3×3, pixels of the infrared image → pixels of the visible one (x, y; the centre of the
            upper left pixel is 0, 0); where lenses are known, of the cameras with perfect lenses.
        visible_size, infrared_size (tuple[int, int]): Height and width for which it holds.
        error (float, optional): Root mean square distance of the points it was made from, in pixels of the visible image.
        visible_lens, infrared_lens (Lens, optional): The lenses.
        confidence (float, optional): Of an estimated one, 0 to 1.

    Raises:
        ValueError: If the homography is not 3×3, not finite, or maps the image to a line or through infinity.
    """

    homography: np.ndarray
    visible_size: tuple[int, int]
    infrared_size: tuple[int, int]
    error: float | None = None
    visible_lens: Lens | None = None
    infrared_lens: Lens | None = None
    confidence: float | None = None
    _maps: dict = field(default_factory=dict, init=False, repr=False, compare=False)

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

    def to_dict(self) -> dict:
        """Give what :meth:`from_dict` reads, of numbers, lists and dicts."""
        data = dict(
            homography=self.homography.tolist(),
            visible_size=list(self.visible_size),
            infrared_size=list(self.infrared_size),
        )
        for name in ('error', 'confidence'):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        for name in ('visible_lens', 'infrared_lens'):
            lens = getattr(self, name)
            if lens is not None:
                data[name] = dict(matrix=lens.matrix.tolist(), distortion=lens.distortion.tolist())
        return data

    @classmethod
    def from_dict(cls, data: Mapping) -> 'CameraPair':
        """Make a pair from what :meth:`to_dict` gives.

        Raises:
            ValueError: If a key is missing or of another form.
        """
        missing = [key for key in _KEYS if not isinstance(data, Mapping) or key not in data]
        if missing:
            raise ValueError(f'no {", ".join(missing)}; {_EXPECTED}.')
        sizes = [list(data[key]) if isinstance(data[key], list | tuple) else data[key] for key in _KEYS[1:]]
        for key, size in zip(_KEYS[1:], sizes, strict=True):
            if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
                raise ValueError(f'{key} is {size!r}; expected [height, width] in pixels.')
        lenses = {}
        for key in ('visible_lens', 'infrared_lens'):
            if data.get(key) is not None:
                try:
                    lenses[key] = Lens(data[key]['matrix'], data[key]['distortion'])
                except (KeyError, TypeError, ValueError) as e:
                    raise ValueError(f'{key}: expected matrix and distortion ({e}).') from e
        try:
            matrix = np.array(data['homography'], np.float64)
        except (TypeError, ValueError) as e:
            raise ValueError(f'homography: expected 3×3 numbers ({e}).') from e
        return cls(matrix, *map(tuple, sizes), data.get('error'), confidence=data.get('confidence'), **lenses)

    def save(self, path: str | Path) -> None:
        """Write the pair to a JSON file."""
        write_bytes(path, (json.dumps(self.to_dict(), indent=2) + '\n').encode())

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
        try:
            return cls.from_dict(data)
        except ValueError as e:
            raise ValueError(f'{path}: {e}') from e

    def warp(self, ir: np.ndarray, visible_size: tuple[int, int]) -> np.ndarray:
        """Warp an infrared image, H×W of any type, into the visible frame.

        Both images may be scaled against the sizes of this pair, with the same shape. Outside of what the camera sees (see
        :meth:`seen`) its border is repeated.

        Raises:
            ValueError: If an image has another shape than those that the pair was made for.
        """
        maps, shrink = self._lookup(tuple(visible_size), ir.shape[:2])
        # Without smoothing, an image that becomes much smaller gets false edges.
        if shrink > 1.5:
            ir = cv2.GaussianBlur(ir, (0, 0), 0.5 * np.sqrt(shrink**2 - 1))
        return cv2.remap(ir, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def seen(self, visible_size: tuple[int, int]) -> np.ndarray:
        """Tell where in the visible frame the infrared camera sees, H×W bool."""
        key = ('seen', *visible_size)
        if key not in self._maps:
            height, width = self.infrared_size
            x, y = self._places(tuple(visible_size))
            # A pixel that is mixed with what is outside is not of the picture.
            self._maps[key] = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        return self._maps[key]

    def keep_visible(self, fused: 'Tensor', visible: 'Tensor') -> 'Tensor':
        """Keep the visible image where the infrared camera does not see.

        Both are 3×H×W (R, G, B) in [0, 1].
        """
        import torch  # here, since reading of files does without it

        seen = torch.from_numpy(self.seen(tuple(visible.shape[-2:])))
        return torch.where(seen.to(fused.device), fused, visible.to(fused))

    def bring(self, vi: np.ndarray, ir: np.ndarray, name: str = 'the infrared image') -> np.ndarray:
        """Warp an infrared image into a visible one, and fill the rest.

        ``vi`` is H×W×3 uint8 (B, G, R). What the camera does not see is the visible image's luminance: a network so fuses
        the visible image with itself there, and neither black nor a false edge enters the result, H×W uint8.

        Raises:
            ValueError: If an image has another shape than those that the pair was made for, or none of it is seen; by
                ``name``.
        """
        size = vi.shape[:2]
        try:
            warped = self.warp(ir, size)
        except ValueError as e:
            raise ValueError(f'{name}: {e}') from e
        seen = self.seen(size)
        if not seen.any():
            raise ValueError(
                f'{name}: the alignment moves the whole infrared image out of the visible one. Make it again with '
                '`mmfusion align`.'
            )
        return np.where(seen, warped, cv2.cvtColor(vi, cv2.COLOR_BGR2GRAY))

    def _places(self, visible_size, infrared_size=None):
        """Place in the infrared image of each visible pixel, x and y."""
        height, width = visible_size
        to_known = np.linalg.inv(_scaling(self.visible_size, visible_size, 'visible'))
        back = np.linalg.inv(self.homography)
        scale = _scaling(self.infrared_size, infrared_size or self.infrared_size, 'infrared')
        y, x = np.mgrid[:height, :width]
        points = np.c_[x.ravel(), y.ravel()].astype(np.float64)
        if self.visible_lens is None and self.infrared_lens is None:
            points = _mapped(scale @ back @ to_known, points)
        else:
            points = _mapped(to_known, points)
            points = self.visible_lens.undistort(points) if self.visible_lens else points
            points = _mapped(back, points)
            points = self.infrared_lens.distort(points) if self.infrared_lens else points
            points = _mapped(scale, points)
        return points.T.reshape(2, height, width).astype(np.float32)

    def _lookup(self, visible_size, infrared_size):
        """Tables for ``cv2.remap`` and how much the image shrinks, once a size."""
        key = visible_size, infrared_size
        if key not in self._maps:
            places = self._places(visible_size, infrared_size)
            fixed = cv2.convertMaps(*np.nan_to_num(places, nan=-1e6), cv2.CV_16SC2)
            if len(self._maps) > 8:  # a folder of many sizes
                self._maps.clear()
            steps = [np.nanmedian(np.hypot(*np.diff(places, axis=axis))) for axis in (1, 2)]
            shrink = float(np.sqrt(steps[0] * steps[1]))
            self._maps[key] = fixed, shrink
        return self._maps[key]


def _mapped(matrix, points):
    """Map N×2 points by a 3×3 homography."""
    points = points @ matrix[:, :2].T + matrix[:, 2]
    return points[:, :2] / points[:, 2:]


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


def camera_pair(align: 'CameraPair | Mapping | str | Path') -> CameraPair:
    """Give a :class:`CameraPair` from one, its file, or its content.

    Its tables are shared.

    Raises:
        ValueError: If the file or the content is damaged.
    """
    if isinstance(align, CameraPair):
        return align
    if not isinstance(align, Mapping | str | Path):
        raise ValueError(f'align (--align) is {align!r}; expected a file of `mmfusion align`, or its content.')
    return _of_text(json.dumps(align if isinstance(align, Mapping) else CameraPair.load(align).to_dict()))


@lru_cache(maxsize=8)
def _of_text(text):
    return CameraPair.from_dict(json.loads(text))


def read_points(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read pairs of points, x and y in both images a line.

    Numbers, of the visible image first, are separated by commas, semicolons or blanks. Empty lines, lines that begin with
    ``#``, and a first line of words are left out. Gives N×2 float64 for either image.

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
        try:
            row = [float(cell.strip('"')) for cell in line.replace(',', ' ').replace(';', ' ').split()]
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
        vi_points, ir_points: N×2, N ≥ 4: the same places in both images.
        visible_size, infrared_size: Height and width of the images.
        max_error: Root mean square distance that is accepted, in pixels of the visible image.

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
    return replace(pair, error=error)
