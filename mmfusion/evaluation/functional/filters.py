"""Filtering shared by the metrics: separable correlation, box means, subsampling.

A separable filter runs as shifted additions. In double precision, which most metrics need for the difference of two
large moments, that is several times faster on a CPU than ``conv2d``, and its memory is two images whatever the window.
"""

import torch
import torch.nn.functional as F


def gaussian_window(size, sigma, dtype=torch.float64, device=None):
    """One-dimensional Gaussian taps that sum to one; their outer product is MATLAB's ``fspecial('gaussian')``.

    Examples:
        >>> gaussian_window(3, 0.5)
        tensor([0.1065, 0.7870, 0.1065], dtype=torch.float64)
    """
    x = torch.arange(size, dtype=dtype, device=device) - (size - 1) / 2
    taps = torch.exp(-(x**2) / (2 * sigma**2))
    return taps / taps.sum()


def _correlate_axis(x, taps, dim):
    taps = [float(t) for t in taps]
    length = x.shape[dim] - len(taps) + 1
    half, symmetric = len(taps) // 2, taps == taps[::-1]
    middle = half if len(taps) % 2 else None
    if symmetric and middle is not None:
        out = x.narrow(dim, middle, length) * taps[middle]
        pair = torch.empty_like(out)
        for i in range(half):
            torch.add(x.narrow(dim, i, length), x.narrow(dim, len(taps) - 1 - i, length), out=pair)
            out.add_(pair, alpha=taps[i])
        return out
    out = x.narrow(dim, 0, length) * taps[0]
    for i, tap in enumerate(taps[1:], 1):
        if tap:
            out.add_(x.narrow(dim, i, length), alpha=tap)
    return out


def filter_valid(x, taps):
    """Correlate with the outer product of ``taps`` with itself, where the window lies inside the image.

    Args:
        x (Tensor): N×1×H×W.
        taps (Tensor): K weights.

    Returns:
        Tensor: N×1×(H−K+1)×(W−K+1), as MATLAB's ``filter2(w, x, 'valid')``.
    """
    # One image at a time: its planes then stay in the processor's cache.
    return torch.cat([_correlate_axis(_correlate_axis(image, taps, 3), taps, 2) for image in x.split(1)])


def filter_same(x, taps):
    """As :func:`filter_valid` with zeros around the image: MATLAB's ``filter2(w, x, 'same')``; K must be odd."""
    half = len(taps) // 2
    return filter_valid(F.pad(x, (half, half, half, half)), taps)


def halve(x):
    """Mean of each 2×2 block; an odd last row or column is repeated first.

    The same as averaging with a 2×2 window, borders mirrored, and keeping every second pixel of the result.
    """
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode='replicate'), 2)


def sobel(x):
    """Sobel responses across and down of an image that has its border already: N×1×(H+2)×(W+2) → two of N×1×H×W."""
    columns = (x[..., :-2, :] + x[..., 2:, :]).add_(x[..., 1:-1, :], alpha=2)
    rows = (x[..., :-2] + x[..., 2:]).add_(x[..., 1:-1], alpha=2)
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]
