"""Colour palettes of thermal cameras, and the values that they show."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

# Those that a picture is compared with; any of matplotlib's or OpenCV's can be named.
_COMMON = (
    *('inferno', 'jet', 'hot', 'turbo', 'rainbow', 'gnuplot2', 'gnuplot', 'magma', 'plasma', 'viridis', 'CMRmap'),
    *('afmhot', 'gist_heat', 'nipy_spectral', 'gist_rainbow', 'cividis', 'cv_rainbow'),
)
# Mean distance to a palette, in levels of 0…255, up to which JPEG's losses explain it.
_NEAR = 15


@lru_cache(maxsize=32)
def palette(name: str) -> np.ndarray:
    """Give the colours of a palette, from cold to hot: N×3 uint8.

    They are R, G, B of a colormap of matplotlib (``'inferno'``; reversed ``'inferno_r'``), of OpenCV (``'cv_rainbow'``), or
    of an image file of one row or column of colours, such as the colour bar of the camera's pictures.

    Raises:
        ValueError: If there is no such palette.
    """
    if not isinstance(name, str | Path):
        raise ValueError(f'ir_colormap (--ir-colormap) is {name!r}; expected the name of a palette, or an image of it.')
    name = str(name)
    import matplotlib  # takes a second, and is needed for pictures in colours alone

    if name in matplotlib.colormaps:
        return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    constant = getattr(cv2, f'COLORMAP_{name.removeprefix("cv_").upper()}', None) if name.startswith('cv_') else None
    if constant is not None:
        return cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], constant)[:, 0, ::-1]
    if not Path(name).is_file():
        raise ValueError(
            f'ir_colormap={name!r}: no such palette; expected a colormap of matplotlib (inferno, jet, hot, gnuplot2 …), of '
            'OpenCV (cv_rainbow …), or an image file of its colours from cold to hot.'
        )
    from .reading import read_visible  # which reads infrared images by these palettes

    bar = read_visible(name)[..., ::-1]
    # A bar wider than a line is taken along its middle; an upright one has its hot end at the top.
    bar = bar[bar.shape[0] // 2] if bar.shape[1] >= bar.shape[0] else bar[::-1, bar.shape[1] // 2]
    if len(bar) < 16:
        raise ValueError(f'{name}: a palette of {len(bar)} colours; expected a row or column of 16 at least.')
    return np.ascontiguousarray(bar)


def values_of(image: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Find the values of an image's colours in a palette.

    Of H×W×3 uint8 (R, G, B), H×W floats, 0 for the first colour to 255 for the last, by the nearest; and the mean distance
    of the image's colours to the palette's, in levels.
    """
    known = palette(name)
    # Each colour once: a picture has fewer of them than pixels.
    codes = image.astype(np.uint32) @ np.uint32([65536, 256, 1])
    codes, inverse = np.unique(codes, return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    distances, indices = cv2.batchDistance(colours.astype(np.float32), known.astype(np.float32), cv2.CV_32F, K=1)
    values = indices[:, 0].astype(np.float32) * np.float32(255 / (len(known) - 1))
    inverse = inverse.reshape(image.shape[:2])
    return values[inverse], float(distances[:, 0][inverse].mean())


def likely_palette(image: np.ndarray) -> str | None:
    """Name the palette nearest to a picture's colours; None if far."""
    pixels = image.reshape(1, -1, 3)
    pixels = pixels[:, :: max(1, pixels.shape[1] // 2000)]
    distances = {name: values_of(pixels, name)[1] for name in _COMMON}
    best = min(distances, key=distances.get)
    return best if distances[best] <= _NEAR else None
