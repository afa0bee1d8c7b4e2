"""How CPU kernels are compiled, and those that are short: the filters of ``filters``, the counts of ``information``.

Tensor operations pass over memory once for each step of a formula, and share work between threads in pieces too small to
gain from it. These loops do all steps while a row is in the processor's nearest cache, by vector instructions. The first
call compiles, for some seconds; later processes read the result from numba's cache.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

# No 'nnan', 'ninf': what is not finite is told by comparisons.
_options = dict(nogil=True, cache=True, error_model='numpy', fastmath={'nsz', 'contract', 'reassoc', 'arcp'})
compiled = njit(**_options)
inlined = njit(inline='always', **_options)
"""For the parts of a kernel: loops are made vector instructions only where the compiler sees that arrays are apart."""


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
    """Taps with zeros behind them, so that their number is a multiple of four: whole passes, and no rest."""
    padded = np.zeros(len(taps) + -len(taps) % 4, taps.dtype)
    padded[: len(taps)] = taps
    return padded


@compiled
def correlate(image, factor, taps, step, out):
    """Correlate ``image`` (H×W) with the outer product of ``taps`` into ``out``, every ``step``-th pixel each way.

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


@compiled
def joint_counts(a, b, levels):
    """How often each pair of levels occurs at the same pixel of two images (H×W, rounded): levels² counts, int64."""
    counts, last = np.zeros(levels * levels, np.int64), levels - 1
    height, width = a.shape
    codes = np.empty(width, np.int64)
    for row in range(height):
        one, other = a[row], b[row]
        for x in range(width):
            level = min(max(np.rint(one[x]), 0.0), last)
            codes[x] = np.int64(level * levels + min(max(np.rint(other[x]), 0.0), last))
        for x in range(width):
            counts[codes[x]] += 1
    return counts


_WORTH_A_THREAD = 1 << 17
"""Operations: fewer are done before a thread has begun."""


def in_threads(function, rows, work, threads):
    """Run ``function(top, bottom)`` on stretches of ``rows`` at the same time.

    Threads are made anew each time, since a pool would not survive the fork of a dataloader's workers.

    Args:
        function (Callable): Releases the interpreter's lock, as compiled functions do.
        rows (int): How many.
        work (int): Roughly the number of operations: little work is not divided.
        threads (int): How many at most.

    Returns:
        list: Its results, stretch by stretch.
    """
    threads = max(1, min(threads, rows, work // _WORTH_A_THREAD))
    ends = [rows * k // threads for k in range(threads + 1)]
    if threads == 1:
        return [function(0, rows)]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(function, *stretch) for stretch in pairwise(ends[1:])]
        return [function(*ends[:2]), *(other.result() for other in others)]
