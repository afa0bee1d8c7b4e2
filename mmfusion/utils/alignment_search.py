"""Estimating where an infrared image lies in a visible one.

From images alone: the edge of a thing is an edge in both, whatever its contrast. They are compared by the strength of
edges, relative to the surroundings, and by the doubled angle of the gradient, which is the same for bright on dark and dark
on bright. Coarse, at 160 pixels of width, rotations and scales are tried, and of each all shifts at once, by the
correlation of whole images. Fine, at 160, 320 and 640 pixels, each cell of the image says how likely each displacement of
it is, and the homography is found that makes all cells together most likely, by Newton's method under a Gaussian error of
displacements that becomes narrower. Several pairs of one rig share a homography: what their cells say is multiplied.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .alignment import CameraPair, _mapped

Frames = Sequence[tuple[np.ndarray, np.ndarray]]

# Terms of the motion that are estimated: shift, scale and rotation, shear, perspective.
MODELS = {'similarity': 4, 'affine': 6, 'homography': 8}
# Width of the images: side of a cell, in features (of 2 pixels).
_LEVELS = {160: 8, 320: 16, 640: 16}
# Largest displacement of a cell, in features, and its errors, from wide to narrow, for three rounds.
_RADIUS, _SIGMAS = 6, ((3.0, 1.5), (1.5, 0.8), (1.5, 0.8))
# Rotations in degrees, steps of scale, and the largest shift, in widths, of the coarse search.
_ROTATIONS, _SCALE_STEP, _SHIFT = np.linspace(-6, 6, 7), 1.04, 0.15
# Best places of the coarse search that are refined at the first level, and how many of these at the next.
_STARTS, _KEPT = 6, 2
# Weight of a correlation, and share of cells that say nothing true (parallax, things that one camera alone sees).
_GAIN, _OUTLIERS = 60.0, 0.1
# Standard deviation of the motion that is expected, in half widths: shift, scale and rotation; shear and perspective.
_EXPECTED = np.repeat([0.1, 0.006], 4)


# Likelihoods of a confidence of a half. For an alignment: no training pair of MSRS above it is wrong by more than 10 pixels.
# A shift alone is certain earlier: images of two scenes hardly reach it.
_TRUSTED, _TRUSTED_SHIFT = 0.65, 0.35
# Confidence below which an estimate is refused.
MIN_CONFIDENCE = 0.5
# How an infrared image may stand: what ``cv2.flip`` takes.
ORIENTATIONS = {'upright': None, 'upside down': -1, 'mirrored left to right': 1, 'mirrored top to bottom': 0}


@dataclass(frozen=True)
class Match:
    """What a search found: a homography, infrared → visible pixels, and its likelihood.

    The likelihood is the mean over cells of the logarithm of how much likelier their displacements are than any other.
    """

    homography: np.ndarray
    likelihood: float

    def confidence(self, trusted: float = _TRUSTED) -> float:
        """L / (L + trusted) for a likelihood L, 0 to 1."""
        likelihood = max(self.likelihood, 0.0)
        return likelihood / (likelihood + trusted)


@dataclass(frozen=True)
class Shift:
    """How far an infrared image stands off its visible one.

    ``x`` and ``y`` are by how many pixels of the visible image, ``width`` wide, it lies to the right and below, in its
    middle; ``confidence`` is 0 to 1, ``orientation`` one of ``ORIENTATIONS``.
    """

    x: float
    y: float
    width: int
    confidence: float
    orientation: str

    @property
    def visible(self) -> bool:
        """Tell whether it is certain, and beyond 2 % or turned."""
        far = np.hypot(self.x, self.y) > 0.02 * self.width
        return bool(self.confidence >= MIN_CONFIDENCE and (far or self.orientation != 'upright'))

    def __str__(self) -> str:
        if self.confidence < MIN_CONFIDENCE:
            return f'cannot be told (confidence {self.confidence:.2f})'
        share = np.hypot(self.x, self.y) / self.width
        text = f'{self.x:+.0f}, {self.y:+.0f} pixels ({share:.1%} of the width; confidence {self.confidence:.2f})'
        return text if self.orientation == 'upright' else f'{text}, {self.orientation}'


def align_by_images(frames: Frames, model: str = 'homography', field: tuple[float, float] = (0.88, 1.12)) -> CameraPair:
    """Estimate where the infrared camera looks from images, without a target.

    Both must show the same things: buildings, trees, vehicles, persons. The error falls with the number of pairs.

    Args:
        frames: Visible (H×W×3 or H×W) and infrared (H×W) uint8 images of one moment each.
        model: ``'similarity'``, ``'affine'`` or ``'homography'``.
        field: As in :func:`search`.

    Raises:
        ValueError: If sizes change, or the confidence is below 0.5.
    """
    frames = [(_grey(vi), ir) for vi, ir in frames]
    sizes = {(vi.shape, ir.shape) for vi, ir in frames}
    if len(sizes) != 1:
        raise ValueError(f'pairs of several sizes, {sorted(sizes)} (height, width); expected one of each camera.')
    match = search(frames, model, field=field)
    confidence = match.confidence()
    if confidence < MIN_CONFIDENCE:
        raise ValueError(
            f'the alignment cannot be told from the images: confidence {confidence:.2f}, at least {MIN_CONFIDENCE:g} '
            'is needed. Give more pairs of scenes with edges that both cameras see, or use --chessboard or --points.'
        )
    return CameraPair(match.homography, *sizes.pop(), confidence=round(confidence, 3))


def find_shift(vi: np.ndarray, ir: np.ndarray) -> Shift:
    """Tell roughly and fast how far an aligned pair is shifted.

    And how the infrared image stands. ``vi`` is H×W×3 or H×W, ``ir`` H×W, uint8.
    """
    vi = _grey(vi)
    found = {}
    for name, flip in ORIENTATIONS.items():
        turned = ir if flip is None else cv2.flip(ir, flip)
        found[name] = search([(vi, turned)], rotations=(0.0,), field=(0.96, 1.04), widths=(160, 320))
        if found['upright'].confidence(_TRUSTED_SHIFT) >= MIN_CONFIDENCE:
            break
    name = max(found, key=lambda key: found[key].likelihood)
    middles = [np.array([[(n - 1) / 2 for n in image.shape[::-1]]]) for image in (ir, vi)]
    x, y = (middles[1] - _mapped(found[name].homography, middles[0]))[0]
    return Shift(float(x), float(y), vi.shape[1], found[name].confidence(_TRUSTED_SHIFT), name)


def _grey(image):
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def search(
    frames: Frames,
    model: str = 'homography',
    rotations: Sequence[float] = _ROTATIONS,
    field: tuple[float, float] = (0.88, 1.12),
    widths: Sequence[int] = tuple(_LEVELS),
) -> Match:
    """Find the most likely homography between visible and infrared images.

    Args:
        frames: Visible and infrared images of one rig, H×W uint8, all of one size by modality.
        model: ``'similarity'``, ``'affine'`` or ``'homography'``.
        rotations: Rotations that are tried, in degrees.
        field: Smallest and largest width that the infrared camera may see, in widths of the visible image; in 1.0 the
            longer of its sides fits.
        widths: At which the images are compared.
    """
    height, width = frames[0][0].shape
    start = _centred(frames[0][1].shape, (height, width))
    levels = [_Level(frames, w) for w in widths if w == widths[0] or w <= 1.3 * width]
    scales = np.geomspace(*field, 1 + round(np.log(field[1] / field[0]) / np.log(_SCALE_STEP)))
    found = _coarse(levels[0], start, rotations, scales)[:_STARTS]
    for k, level in enumerate(levels):
        matches = []
        for matrix in found:
            for sigmas in _SIGMAS:
                match = _refine(level, start, matrix, sigmas, MODELS[model])
                matrix = match.homography
            matches.append(match)
        matches.sort(key=lambda m: -m.likelihood)
        found = [m.homography for m in matches[: 1 if k else _KEPT]]
    return matches[0]


def _centred(size, to):
    """Pixels of an image → of the smallest one around it, scaled."""
    scale = min(n / m for n, m in zip(to, size, strict=True))
    return _about([(n - 1) / 2 for n in size[::-1]], [(n - 1) / 2 for n in to[::-1]], scale)


def _about(centre, to, scale=1.0, angle=0.0):
    """Scale and turn about a point that is moved; 3×3, degrees."""
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    matrix[:2, 2] = np.asarray(to) - matrix[:2, :2] @ centre
    return matrix


def _resizing(size, to):
    """Pixels of an image → pixels of it in another size; 3×3."""
    y, x = to[0] / size[0], to[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _features(image):
    """Features of an image in [0, 1] at half its size: 6×H/2×W/2."""
    maps = []
    for sigma in (1.0, 2.0):
        smooth = cv2.GaussianBlur(image, (0, 0), sigma)
        x, y = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
        strength = np.hypot(x, y)
        around = cv2.blur(strength, (33, 33), borderType=cv2.BORDER_REPLICATE)
        edge = strength / (strength + 2 * around + 0.004)
        angle = 2 * np.arctan2(y, x)
        level = cv2.blur(edge, (33, 33), borderType=cv2.BORDER_REPLICATE)
        maps += [edge * np.cos(angle), edge * np.sin(angle), edge - level]
    half = image.shape[1] // 2, image.shape[0] // 2
    return np.stack([cv2.resize(cv2.GaussianBlur(m, (0, 0), 1), half, interpolation=cv2.INTER_AREA) for m in maps])


class _Level:
    """Frames at one width of the visible images."""

    def __init__(self, frames, width):
        visible, infrared = (images[0].shape for images in zip(*frames, strict=True))
        self.size = tuple(max(16, 4 * round(n * width / visible[1] / 4)) for n in visible)
        self.cell = _LEVELS[width]
        self.of_visible = _resizing(visible, self.size)
        # Features lie on the even pixels, as nearly as half a pixel.
        self.of_features = np.diag([0.5, 0.5, 1]) @ self.of_visible
        shrink = min(1.0, self.size[1] / visible[1])
        small = tuple(max(8, round(n * shrink)) for n in infrared)
        self.of_small = _resizing(small, infrared)
        resize = lambda image, size: cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)  # noqa: E731
        self.infrared = [np.float32(resize(ir, small)) / 255 for _, ir in frames]
        self.visible = [_features(np.float32(resize(vi, self.size)) / 255) for vi, _ in frames]

    def warped(self, matrix):
        """Infrared features under a homography, and where they are seen."""
        matrix, size = self.of_visible @ matrix @ self.of_small, self.size[::-1]
        images = [cv2.warpPerspective(ir, matrix, size, borderMode=cv2.BORDER_REPLICATE) for ir in self.infrared]
        seen = cv2.warpPerspective(np.ones_like(self.infrared[0]), matrix, size)
        seen = cv2.resize(seen, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA) > 0.95
        return [_features(image) * seen for image in images], np.float32(seen)


def _coarse(level, start, rotations, scales):
    """Correlate whole images over rotations, scales and shifts; homographies, the best first."""
    rows, columns = level.visible[0].shape[1:]
    reach = round(_SHIFT * columns)
    padded = [cv2.getOptimalDFTSize(n + reach) for n in (rows, columns)]
    means = [vi.mean((1, 2), keepdims=True) for vi in level.visible]
    visible = [np.fft.rfft2(vi - mean, padded).conj() for vi, mean in zip(level.visible, means, strict=True)]
    centre = [(n - 1) / 2 for n in level.size[::-1]]
    from_level = np.linalg.inv(level.of_visible)
    found = []
    for angle in rotations:
        for scale in scales:
            matrix = _about(centre, centre, scale, angle) @ level.of_visible @ start
            infrared, seen = level.warped(from_level @ matrix)
            score = 0
            for vi, ir in zip(visible, infrared, strict=True):
                ir = (ir - ir.sum((1, 2), keepdims=True) / max(seen.sum(), 1)) * seen
                score = score + (vi * np.fft.rfft2(ir, padded)).sum(0)
            score = np.roll(np.fft.irfft2(score, padded), (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
            y, x = np.subtract(divmod(int(score.argmax()), 2 * reach + 1), reach)
            shift = np.array([[1, 0, -2.0 * x], [0, 1, -2.0 * y], [0, 0, 1]])
            found.append((float(score.max()), from_level @ shift @ matrix))
    return [matrix for _, matrix in sorted(found, key=lambda item: -item[0])]


def _cell_probabilities(vi, ir, cell):
    """Logarithm of each cell's displacements' likelihood.

    Rows×columns×D×D, D = 2·radius + 1, as [y, x].
    """
    sides = ((0, 0), (_RADIUS, _RADIUS), (_RADIUS, _RADIUS))
    window = cell + 2 * _RADIUS
    rows, columns = (n // cell for n in vi.shape[1:])
    windows = np.lib.stride_tricks.sliding_window_view
    cells = windows(vi, (cell, cell), (1, 2))[:, ::cell, ::cell][:, :rows, :columns]
    around = windows(np.pad(ir, sides), (window, window), (1, 2))[:, ::cell, ::cell][:, :rows, :columns]
    # The window is as large as displaced cells reach: nothing wraps around.
    product = np.einsum('cijyx,cijyx->ijyx', np.fft.rfft2(cells, (window, window)).conj(), np.fft.rfft2(around))
    side = 2 * _RADIUS + 1
    logits = np.fft.irfft2(product, (window, window))[..., :side, :side] * (_GAIN / 256)
    logits -= logits.max((2, 3), keepdims=True)
    probability = np.exp(logits)
    probability /= probability.sum((2, 3), keepdims=True)
    return np.log((1 - _OUTLIERS) * probability + _OUTLIERS / side**2)


def _basis(places, size, terms):
    """Motion of places by each term, 1 at the image's side: N×2×terms."""
    half = size[1] / 2
    u, v = ((places - (np.array(size[::-1]) - 1) / 2) / half).T
    one, zero = np.ones_like(u), np.zeros_like(u)
    x, y = [one, zero, u, -v, u, v, u * u, u * v], [zero, one, v, u, -v, u, u * v, v * v]
    return np.stack([x, y]).transpose(2, 0, 1)[..., :terms]


def _homography(motion, size):
    """The homography whose motion, where it is small, is that of :func:`_basis`."""
    half = size[1] / 2
    right, down, s, r, a, b, p, q = np.pad(motion, (0, 8 - len(motion))) / half
    matrix = np.array([[1 + s + a, b - r, right], [r + b, 1 + s - a, down], [-p, -q, 1]])
    centre = np.array([[half, 0, (size[1] - 1) / 2], [0, half, (size[0] - 1) / 2], [0, 0, 1]])
    return centre @ matrix @ np.linalg.inv(centre)


def _refine(level, start, matrix, sigmas, terms):
    """Move a homography to where one level's cells are most likely."""
    infrared, seen = level.warped(matrix)
    cell = level.cell
    said = sum(_cell_probabilities(vi, ir, cell) for vi, ir in zip(level.visible, infrared, strict=True))
    rows, columns = said.shape[:2]
    shares = seen[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).mean((1, 3))
    if np.count_nonzero(shares > 0.75) < terms:
        return Match(matrix, -np.inf)
    y, x = np.nonzero(shares > 0.75)
    places, size = np.stack([x, y], 1) * cell + (cell - 1) / 2, seen.shape
    back = np.linalg.inv(level.of_features)
    moved = _mapped(np.linalg.inv(level.of_features @ matrix @ np.linalg.inv(start) @ back), places) - places
    basis = _basis(places, size, terms)
    so_far = np.linalg.lstsq(basis.reshape(-1, terms), moved.ravel(), rcond=None)[0]
    motion, likelihood = _most_likely(said[y, x], places, size, basis, so_far, sigmas)
    matrix = back @ np.linalg.inv(_homography(motion, size)) @ level.of_features @ matrix
    return Match(matrix / matrix[2, 2], likelihood)


def _most_likely(said, places, size, basis, so_far, sigmas):
    """Find the most likely motion of cells, and its mean likelihood.

    A cell's likelihood is Σ_d p(d) N(d; the motion at the cell, σ²). Its slope is (μ − motion) / σ², its curvature
    −(1 − S / σ²) / σ², with mean μ and covariance S of the displacements d under these weights.
    """
    step = np.arange(-_RADIUS, _RADIUS + 1.0)
    # Of many pairs it falls below what 32 bits can hold.
    probability = np.exp(np.float64(said) - said.max((1, 2), keepdims=True))
    probability /= probability.sum((1, 2), keepdims=True)
    precision = 1 / (_EXPECTED[: len(so_far)] * size[1] / 2) ** 2
    motion = np.zeros_like(so_far)
    for sigma in sigmas:
        for _ in range(6):
            now = _mapped(_homography(motion, size), places) - places
            near = np.exp(-((step - now[..., None]) ** 2) / (2 * sigma**2))
            weight = probability * near[:, 1, :, None] * near[:, 0, None, :]
            total = weight.sum((1, 2)) + 1e-300
            x, y = weight.sum(1) / total[:, None], weight.sum(2) / total[:, None]
            mean = np.stack([x @ step, y @ step], 1)
            both = np.einsum('nyx,y,x->n', weight, step, step) / total
            square = np.stack([x @ step**2, both, both, y @ step**2], 1).reshape(-1, 2, 2)
            spread, axes = np.linalg.eigh(square - mean[:, :, None] * mean[:, None, :])
            curvature = np.clip(1 - spread / sigma**2, 0, 1) / sigma**2
            curvature = np.einsum('nij,nj,nkj->nik', axes, curvature, axes)
            hessian = np.einsum('nia,nij,njb->ab', basis, curvature, basis) + np.diag(precision)
            slope = np.einsum('nia,ni->a', basis, (mean - now) / sigma**2) - precision * (so_far + motion)
            change = np.linalg.solve(hessian + 0.01 * np.diag(np.diag(hessian)), slope)
            largest = np.abs(basis @ change).max()
            motion = motion + change * min(1, 2 * sigma / max(largest, 1e-9))
            if largest < 0.01:
                break
    uniform = 2 * np.pi * sigma**2 / len(step) ** 2
    return motion, float(np.log(total / uniform).mean())
