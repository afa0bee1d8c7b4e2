"""Separable correlation in one pass, rows in the nearest cache."""

import numpy as np

from .compiled import compiled


@compiled
def _weighted_rows(rows, first, taps, out):
    """``out = Σ taps[k] · rows[(first + k) mod R]`` of R taps, a multiple of four."""
    n = len(rows)
    for k in range(0, len(taps), 4):
        a, b, c, d = (
            rows[(first + k) % n],
            rows[(first + k + 1) % n],
            rows[(first + k + 2) % n],
            rows[(first + k + 3) % n],
        )
        s, t, u, v = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        if k == 0:
            for x in range(len(out)):
                out[x] = s * a[x] + t * b[x] + u * c[x] + v * d[x]
        else:
            for x in range(len(out)):
                out[x] += s * a[x] + t * b[x] + u * c[x] + v * d[x]


@compiled
def _weighted_neighbours(row, taps, out):
    """``out[x] = Σ taps[k] · row[x + k]``; the number of taps is a multiple of four."""
    for k in range(0, len(taps), 4):
        part, s, t, u, v = row[k:], taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        if k == 0:
            for x in range(len(out)):
                out[x] = s * part[x] + t * part[x + 1] + u * part[x + 2] + v * part[x + 3]
        else:
            for x in range(len(out)):
                out[x] += s * part[x] + t * part[x + 1] + u * part[x + 2] + v * part[x + 3]


@compiled
def _padded(taps):
    """Taps with zeros behind them, to a multiple of four."""
    padded = np.zeros(len(taps) + -len(taps) % 4, taps.dtype)
    padded[: len(taps)] = taps
    return padded


@compiled
def correlate(image: np.ndarray, factor: np.ndarray | None, taps: np.ndarray, step: int, out: np.ndarray) -> None:
    """Correlate ``image`` with the outer product of ``taps`` into ``out``.

    ``factor`` is None, or an image of the same size that ``image`` is first multiplied with.
    """
    height, width = image.shape
    count, taps = len(taps), _padded(taps)
    rows, column = np.zeros((len(taps), width), image.dtype), np.zeros(width + len(taps) - count, image.dtype)
    line = np.empty(width - count + 1, image.dtype)
    for row in range(height):
        newest, source = rows[row % len(taps)], image[row]
        if factor is None:
            for x in range(width):
                newest[x] = source[x]
        else:
            other = factor[row]
            for x in range(width):
                newest[x] = source[x] * other[x]
        top = row - count + 1
        if top >= 0 and top % step == 0:
            _weighted_rows(rows, top, taps, column[:width])
            result = out[top // step]
            if step == 1:
                _weighted_neighbours(column, taps, result)
            else:
                _weighted_neighbours(column, taps, line)
                for x in range(len(result)):
                    result[x] = line[x * step]
