"""The camera of a synthetic scene, and its painted maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

CLASSES = ('background', 'road', 'vegetation', 'car', 'person', 'lamp')
BACKGROUND, ROAD, VEGETATION, CAR, PERSON, LAMP = range(6)

_SHIFT = 4  # fractional bits of polygon corners handed to OpenCV


@dataclass
class Camera:
    """A pinhole camera that looks along the street.

    World axes: X to the right, Y up from the ground, Z ahead, in metres; the camera stands at (0, ``height``, 0).

    Args:
        focal (float): Focal length in pixels.
        centre (float): Column of the vanishing point.
        horizon (float): Row of the horizon.
        height (float): Height above the ground in metres.
    """

    focal: float
    centre: float
    horizon: float
    height: float

    def project(self, points: ArrayLike) -> np.ndarray:
        """Project world points (…×3, metres) to pixels (…×2, x and y)."""
        points = np.asarray(points, np.float64)
        scale = self.focal / points[..., 2]
        return np.stack(
            [self.centre + points[..., 0] * scale, self.horizon + (self.height - points[..., 1]) * scale], -1
        )

    def scale(self, z: float) -> float:
        """Pixels a metre at distance ``z``."""
        return self.focal / z


class Canvas:
    """Maps of a scene, H×W; colours H×W×3, B, G, R, linear.

    - ``albedo``: reflectance in [0, 1]; ``emission``: light of its own, of any height.
    - ``temp``: temperature above the surrounding air in kelvin.
    - ``distance``: metres from the camera, for fog.
    - ``label``: class index; ``instance``: 0, or the number of a person or car (1…).
    - ``ground``: 1 where a surface lies on the ground and so takes shadows.

    Args:
        size: Height and width.
        rng: Source of the texture noise.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        h, w = self.size = tuple(size)
        self.rng = rng
        self.albedo = np.zeros((h, w, 3), np.float32)
        self.emission = np.zeros((h, w, 3), np.float32)
        self.temp = np.zeros((h, w), np.float32)
        self.distance = np.full((h, w), 1000, np.float32)
        self.label = np.zeros((h, w), np.uint8)
        self.instance = np.zeros((h, w), np.uint8)
        self.ground = np.zeros((h, w), np.uint8)
        self.tile = _tile()

    def remember_backdrop(self) -> None:
        """Keep maps in ``backdrop`` before persons and cars hide them."""
        self.backdrop = {name: getattr(self, name).copy() for name in ('albedo', 'emission', 'temp', 'distance')}

    def fill(
        self,
        polygons: Sequence[np.ndarray],
        albedo: np.ndarray | None = None,
        temp: float | None = None,
        emission: ArrayLike | None = None,
        **maps,
    ) -> None:
        """Fill polygons (K×2 pixel coordinates each) in the given maps.

        ``maps`` are names of further maps (``label``, ``instance``, ``distance``, ``ground``) and their values.
        """
        corners = [self._corners(p) for p in polygons]
        for name, value in dict(albedo=albedo, temp=temp, emission=emission, **maps).items():
            if value is not None:
                target, value = getattr(self, name), _scalar(value)
                # One call a polygon: a joint call fills by the even-odd rule, and overlaps would become holes.
                for c in corners:
                    cv2.fillPoly(target, [c], value, shift=_SHIFT)

    def fill_apart(
        self, quads: np.ndarray, albedo: np.ndarray, temp: float | None = None, emission: np.ndarray | None = None
    ) -> None:
        """Fill N×4×2 quadrangles that do not overlap, in one call a map."""
        if len(quads):
            corners = list(self._corners(quads))
            for target, value in ((self.albedo, albedo), (self.temp, temp), (self.emission, emission)):
                if value is not None:
                    cv2.fillPoly(target, corners, _scalar(value), shift=_SHIFT)

    def _corners(self, points: np.ndarray) -> np.ndarray:
        # Corners far outside would overflow OpenCV's fixed-point coordinates.
        limit = 8 * max(self.size)
        return np.rint(np.clip(points, -limit, limit) * (1 << _SHIFT)).astype(np.int32)

    def capsule(
        self,
        start: Sequence[float] | np.ndarray,
        end: Sequence[float] | np.ndarray,
        width: float,
        albedo: np.ndarray,
        temp: float,
        **maps,
    ) -> None:
        """Draw a limb: a thick line with round ends.

        It goes from ``start`` to ``end`` (x, y) and is ``width`` pixels wide.
        """
        ends = [tuple(round(float(v) * (1 << _SHIFT)) for v in p) for p in (start, end)]
        thickness = max(1, round(width))
        for name, value in dict(albedo=albedo, temp=temp, **maps).items():
            cv2.line(getattr(self, name), *ends, _scalar(value), thickness, shift=_SHIFT)

    def window(self, rows: int, cols: int, side: int = 160) -> np.ndarray:
        """A window of the noise tile, resized to rows×cols; in [-1, 1]."""
        y, x = self.rng.integers(0, len(self.tile) - side + 1, 2)
        return cv2.resize(self.tile[y : y + side, x : x + side], (cols, rows), interpolation=cv2.INTER_LINEAR)


@cache
def _tile():
    """A noise tile that wraps around, of all scenes' textures."""
    tile = noise((256, 256), np.random.default_rng(0), octaves=6, base=4, wrap=True)
    tile.flags.writeable = False
    return tile


def _scalar(value: float | Sequence[float] | np.ndarray) -> float | tuple[float, ...]:
    """A number or colour as OpenCV takes it."""
    return tuple(float(v) for v in value) if np.ndim(value) else float(value)


def noise(
    size: tuple[int, int], rng: np.random.Generator, octaves: int = 5, base: int = 3, wrap: bool = False
) -> np.ndarray:
    """Multi-octave value noise: random grids of doubling fineness, halving in amplitude.

    Args:
        size: Height and width.
        rng: Source of randomness.
        octaves: Number of grids; the finest ones are dropped when they would be finer than the pixels.
        base: Cells across the image in the coarsest grid.
        wrap: Whether the result continues across opposite borders.

    Returns:
        float32, zero mean, unit maximum of the absolute value.
    """
    h, w = size
    out = np.zeros(size, np.float32)
    for octave in range(octaves):
        cells = base << octave
        if octave and cells > min(h, w):
            break
        rows = cells
        cols = max(1, round(cells * w / h))
        grid = rng.random((rows, cols), np.float32) - 0.5
        if wrap:
            # Three cells of margin on each side cover the support of the cubic kernel.
            grid = np.pad(grid, 3, mode='wrap')
            ry, rx = h // rows, w // cols
            layer = cv2.resize(grid, ((cols + 6) * rx, (rows + 6) * ry), interpolation=cv2.INTER_CUBIC)
            layer = layer[3 * ry : 3 * ry + h, 3 * rx : 3 * rx + w]
        else:
            # Cubic where single cells could be seen as squares.
            smooth = cv2.INTER_CUBIC if cells < 16 else cv2.INTER_LINEAR
            layer = cv2.resize(grid, (w, h), interpolation=smooth)
        out += layer * np.float32(0.6**octave)
    out -= out.mean()
    out *= 1 / max(out.max(), -out.min())
    return out


def linear(r: float, g: float, b: float) -> np.ndarray:
    """A display colour, 0–255, as linear B, G, R (gamma 2)."""
    return np.square(np.array([b, g, r], np.float32) / 255)
