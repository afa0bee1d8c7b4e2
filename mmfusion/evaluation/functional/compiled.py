"""How CPU kernels are compiled, and the filters of ``filters`` among them.

Tensor operations pass over memory once for each step of a formula, and share work between threads in pieces too small to
gain from it. These loops do all steps while a row is in the processor's nearest cache, by vector instructions. The first
call compiles, for some seconds; later processes read the result from numba's cache.
"""

import numpy as np
from numba import njit

# No 'nnan', 'ninf': what is not finite is told by comparisons.
_options = dict(nogil=True, cache=True, error_model='numpy', fastmath={'nsz', 'contract', 'reassoc', 'arcp'})
compiled = njit(**_options)
inlined = njit(inline='always', **_options)
"""For the parts of a kernel: loops are made vector instructions only where the compiler sees that arrays are apart."""


@inlined
def _weighted_rows(rows, first, taps, out):
    """``out = Σ taps[k] · rows[(first + k) mod K]``, four rows a pass."""
    count = len(taps)
    row, tap = rows[first % count], taps[0]
    for x in range(len(out)):
        out[x] = tap * row[x]
    k = 1
    while k + 3 < count:
        a, b = rows[(first + k) % count], rows[(first + k + 1) % count]
        c, d = rows[(first + k + 2) % count], rows[(first + k + 3) % count]
        s, t, u, v = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        for x in range(len(out)):
            out[x] += s * a[x] + t * b[x] + u * c[x] + v * d[x]
        k += 4
    while k < count:
        row, tap = rows[(first + k) % count], taps[k]
        for x in range(len(out)):
            out[x] += tap * row[x]
        k += 1


@inlined
def _weighted_neighbours(row, taps, out):
    """``out[x] = Σ taps[k] · row[x + k]``, four neighbours a pass."""
    count, tap = len(taps), taps[0]
    for x in range(len(out)):
        out[x] = tap * row[x]
    k = 1
    while k + 3 < count:
        s, t, u, v = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        for x in range(len(out)):
            out[x] += s * row[x + k] + t * row[x + k + 1] + u * row[x + k + 2] + v * row[x + k + 3]
        k += 4
    while k < count:
        tap = taps[k]
        for x in range(len(out)):
            out[x] += tap * row[x + k]
        k += 1


@compiled
def correlate(image, taps, step, out):
    """Correlate H×W ``image`` with the outer product of ``taps`` into ``out``, every ``step``-th pixel each way."""
    height, width = image.shape
    count = len(taps)
    rows = np.empty((count, width), image.dtype)
    column, line = np.empty(width, image.dtype), np.empty(width - count + 1, image.dtype)
    for row in range(height):
        rows[row % count] = image[row]
        top = row - count + 1
        if top >= 0 and top % step == 0:
            _weighted_rows(rows, top, taps, column)
            result = out[top // step]
            if step == 1:
                _weighted_neighbours(column, taps, result)
            else:
                _weighted_neighbours(column, taps, line)
                for x in range(len(result)):
                    result[x] = line[x * step]


@compiled
def covariance(a, b, mean_a, mean_b, taps, out):
    """Local covariance of H×W images under the window of ``taps``, given their local means, into ``out``."""
    height, width = a.shape
    count = len(taps)
    rows = np.empty((count, width), a.dtype)
    column = np.empty(width, a.dtype)
    for row in range(height):
        product, one, other = rows[row % count], a[row], b[row]
        for x in range(width):
            product[x] = one[x] * other[x]
        top = row - count + 1
        if top >= 0:
            _weighted_rows(rows, top, taps, column)
            result, one, other = out[top], mean_a[top], mean_b[top]
            _weighted_neighbours(column, taps, result)
            for x in range(len(result)):
                result[x] -= one[x] * other[x]
