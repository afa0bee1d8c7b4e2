"""FMI's windows on a CPU, compiled, some hundred at a time.

The formulas are those of ``feature_information``.

Every loop over the windows at hand is one that the compiler turns to vector instructions; see ``compiled``.
"""

import numpy as np

from .compiled import compiled, in_threads, inlined

_CELLS = 9
_LANES = 128
"""Windows side by side: their scratch memory of about 50 KB stays in the nearest caches."""
_ZERO, _ONE, _TINY = np.float32(0), np.float32(1), np.float32(1e-30)
_SEVEN, _EIGHT = np.float32(7), np.float32(8)
_UNIFORM = np.float32(1 / _CELLS)
# Bits of √½: exponents counted from there leave mantissas in [√½, √2), where the series is short.
_ROOT_HALF = np.int32(0x3F3504F3)
# log2 m = 2 / ln 2 · (t + t³/3 + t⁵/5 + …) of t = (m − 1) / (m + 1); the next term is below 1e-9.
_SERIES = tuple(np.float32(2 / np.log(2) / k) for k in (1, 3, 5, 7, 9))


@inlined
def _log2(x):
    """log2 of a normal positive float32, to 2e-7 of it or of 1."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - _ROOT_HALF) >> np.int32(23))
    mantissa = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32)
    t = (mantissa - _ONE) / (mantissa + _ONE)
    s = t * t
    series = _SERIES[1] + s * (_SERIES[2] + s * (_SERIES[3] + s * _SERIES[4]))
    return np.float32(exponent) + t * (_SERIES[0] + s * series)


@inlined
def _value(maps, source, row, left, n, k):
    """Values ``k``, column by column, of ``n`` windows from (row, left)."""
    start = left + k // 3
    return maps[source, row + k % 3, start : start + n]


@inlined
def _distribute(maps, source, row, left, n, low, p, flat, mean, second, entropy, energy, total):
    """Distributions ``p`` (9×n) of ``n`` windows, with moments, entropy and energy."""
    first = _value(maps, source, row, left, n, 0)
    for x in range(n):
        low[x] = first[x]
        total[x] = _ZERO
    for k in range(1, _CELLS):
        values = _value(maps, source, row, left, n, k)
        for x in range(n):
            low[x] = min(low[x], values[x])
    for k in range(_CELLS):
        values, out = _value(maps, source, row, left, n, k), p[k]
        for x in range(n):
            out[x] = np.float32(values[x] - low[x])
            total[x] += out[x]
    for x in range(n):
        flat[x] = _ONE if total[x] == _ZERO else _ZERO
        total[x] = _ONE / (total[x] + flat[x])
        mean[x] = second[x] = entropy[x] = _ZERO
        energy[x] = -_UNIFORM
    for k in range(_CELLS):
        out, position = p[k], np.float32(k - _CELLS // 2)
        for x in range(n):
            share = out[x] * total[x]
            out[x] = share
            mean[x] += position * share
            second[x] += position * position * share
            energy[x] += share * share
            entropy[x] -= share * _log2(share + _TINY)


@inlined
def _correlate(p, q, energy_p, energy_q, n, correlation):
    """Pearson's correlations of the windows; 0 where one of them is flat."""
    for x in range(n):
        correlation[x] = -_UNIFORM
    for k in range(_CELLS):
        a, b = p[k], q[k]
        for x in range(n):
            correlation[x] += a[x] * b[x]
    for x in range(n):
        square = energy_p[x] * energy_q[x]
        correlation[x] = correlation[x] / np.sqrt(square) if square > _ZERO else _ZERO


@inlined
def _merge(p, q, correlation, n, bits, sum_p, sum_q):
    """Merge the steps of both distributions.

    The second is reversed where the windows are negatively correlated. ``bits`` is 16×n: floats from 0 on, in the order of
    their bits; the last bit tells whose step it is.
    """
    for x in range(n):
        sum_p[x] = sum_q[x] = _ZERO
    for k in range(_CELLS - 1):
        a, b, c = p[k], q[k], q[_CELLS - 1 - k]
        # A merge by comparing and exchanging wants the second list descending.
        ascending, descending = bits[k], bits[15 - k]
        for x in range(n):
            sum_p[x] += a[x]
            sum_q[x] += c[x] if correlation[x] < _ZERO else b[x]
            ascending[x] = np.int32(np.float32(sum_p[x]).view(np.int32) & np.int32(-2))
            descending[x] = np.int32(np.float32(sum_q[x]).view(np.int32) | np.int32(1))
    for stage in range(4):
        distance = 8 >> stage
        for block in range(0, 16, 2 * distance):
            for k in range(block, block + distance):
                lower, upper = bits[k], bits[k + distance]
                for x in range(n):
                    a, b = lower[x], upper[x]
                    lower[x] = min(a, b)
                    upper[x] = max(a, b)


@inlined
def _cells(steps, bits, n, mass, same, before, product, minima):
    """Masses, products ``p_i q_j`` and minima of the 17 cells of ``U``.

    As ``feature_information._cells`` and ``_covariance`` have it.
    """
    last = _CELLS + 7
    for x in range(n):
        mass[0, x] = before[1, x] = steps[0, x]
        mass[last, x] = product[last, x] = max(_ONE - steps[15, x], _ZERO)
        same[last, x] = _ZERO
        minima[x] = np.float32(15) * steps[0, x]
    for k in range(1, last):
        start, end, tag, next_tag = steps[k - 1], steps[k], bits[k - 1], bits[k]
        cell, alike, back, next_back, rank = mass[k], same[k], before[k], before[k + 1], np.float32(15 - k)
        for x in range(n):
            cell[x] = end[x] - start[x]
            alike[x] = _ONE - np.float32(np.int32(np.int32(tag[x] ^ next_tag[x]) & np.int32(1)))
            next_back[x] = cell[x] + alike[x] * back[x]
            minima[x] += rank * end[x]
    for k in range(last, 0, -1):
        cell, alike, back, here, previous = mass[k], same[k], before[k], product[k], product[k - 1]
        for x in range(n):
            length = cell[x] + back[x] * (_ONE - alike[x])
            other = here[x]
            previous[x] = length + alike[x] * (other - length)
            here[x] = length * other + _TINY
    for x in range(n):
        product[0, x] = mass[0, x] * product[0, x] + _TINY


@inlined
def _shares(mean, second, source, n, correlation, minima, share):
    """φ of each pair of windows, 0 where correlation is."""
    for x in range(n):
        total_p, total_q = np.float32(4) - mean[0, x], np.float32(4) - mean[source, x]
        weighted_p = np.float32(28) - (second[0, x] + _SEVEN * mean[0, x] + np.float32(12)) / np.float32(2)
        weighted_q = np.float32(28) - (second[source, x] + _SEVEN * mean[source, x] + np.float32(12)) / np.float32(2)
        within_q = _SEVEN * total_q - weighted_q
        reverse = correlation[x] < _ZERO
        within_q = np.float32(28) - weighted_q if reverse else within_q
        total_q = _EIGHT - total_q if reverse else total_q
        covariance = minima[x] - (_SEVEN * total_p - weighted_p) - within_q - total_p * total_q
        spread_p = np.sqrt(max(second[0, x] - mean[0, x] * mean[0, x], _ZERO))
        spread_q = np.sqrt(max(second[source, x] - mean[source, x] * mean[source, x], _ZERO))
        found = abs(correlation[x]) * (spread_p * spread_q) / covariance
        share[x] = found if covariance != _ZERO else _ZERO


@compiled
def _sum_rows(maps, top, bottom):
    """Sum the windows whose upper row is in ``top … bottom − 1``."""
    count, width = maps.shape[0], maps.shape[2] - 2
    # Names of the scratch memory: what a window has for each image, and what a pair of windows has.
    p = np.empty((count, _CELLS, _LANES), np.float32)
    flat, mean, second, entropy, energy = np.empty((5, count, _LANES), np.float32)
    correlation, minima, share, sum_a, sum_b, sum_c = np.empty((6, _LANES), np.float32)
    steps, (mass, same, before, product) = np.empty((16, _LANES), np.float32), np.empty((4, 17, _LANES), np.float32)
    bits, low = steps.view(np.int32), np.empty(_LANES, maps.dtype)
    before[0] = 0
    result = 0.0
    for row in range(top, bottom):
        for left in range(0, width, _LANES):
            n = min(_LANES, width - left)
            for s in range(count):
                _distribute(maps, s, row, left, n, low, p[s], flat[s], mean[s], second[s], entropy[s], energy[s], sum_a)
            for s in range(1, count):
                _correlate(p[0], p[s], energy[0], energy[s], n, correlation)
                _merge(p[0], p[s], correlation, n, bits, sum_a, sum_b)
                _cells(steps, bits, n, mass, same, before, product, minima)
                _shares(mean, second, s, n, correlation, minima, share)
                for x in range(n):
                    sum_a[x] = sum_b[x] = sum_c[x] = _ZERO
                for k in range(17):
                    cell, independent = mass[k], product[k]
                    for x in range(n):
                        mixed = independent[x] * (_ONE - share[x]) + cell[x] * share[x]
                        sum_a[x] += independent[x]
                        sum_b[x] += independent[x] * _log2(independent[x])
                        sum_c[x] += mixed * _log2(abs(mixed) + _TINY)
                equal = minima  # no longer needed
                for x in range(n):
                    equal[x] = _ONE
                for k in range(_CELLS):
                    a, b = _value(maps, 0, row, left, n, k), _value(maps, s, row, left, n, k)
                    for x in range(n):
                        equal[x] = equal[x] if a[x] == b[x] else _ZERO
                part = _ZERO
                for x in range(n):
                    rest, total = _ONE - share[x], entropy[0, x] + entropy[s, x]
                    # All p_i q_j times rest have the entropy rest · total − rest log rest. In U's cells it is exchanged.
                    joint = rest * (sum_b[x] + total) - rest * _log2(abs(rest) + _TINY) * (_ONE - sum_a[x]) - sum_c[x]
                    value = np.float32(2) * (total - joint) / total if total > _ZERO else _ZERO
                    one = max(equal[x], flat[0, x] * flat[s, x])
                    known = max(one, max(flat[0, x], flat[s, x]))
                    part += one if known > _ZERO else value
                result += part
    return result


def window_sum(maps: np.ndarray, threads: int) -> float:
    """Sum normalised mutual information of 3×3 windows with those of the others.

    Args:
        maps: S×H×W feature maps, the fused image's and then the sources', float64, C order.
        threads: Stretches of rows that are computed at the same time, at most.

    Returns:
        The sum over windows and sources.
    """
    rows = maps.shape[1] - 2
    work = rows * maps.shape[2] * _CELLS * len(maps)
    return sum(in_threads(lambda top, bottom: _sum_rows(maps, top, bottom), rows, work, threads))
