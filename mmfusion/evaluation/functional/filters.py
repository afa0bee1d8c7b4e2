"""Filtering shared by the metrics: separable correlation, box means, subsampling.

In double precision, which most metrics need for the difference of two large moments. On a CPU a separable filter is
compiled (``kernels.filters``); elsewhere, and for rows alone, it runs as products of short stretches of pixels with a small
banded matrix: linear in pixels, without intermediate copies, and many times faster than ``conv2d`` in this precision.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_window(
    size: int, sigma: float, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Tensor:
    """Compute one-dimensional Gaussian taps that sum to one, as MATLAB's ``fspecial``.

    Examples:
        >>> gaussian_window(3, 0.5)
        tensor([0.1065, 0.7870, 0.1065], dtype=torch.float64)
    """
    x = torch.arange(size, dtype=dtype, device=device) - (size - 1) / 2
    taps = torch.exp(-(x**2) / (2 * sigma**2))
    return taps / taps.sum()


_BLOCK = 8
"""Outputs per product: more are wasted multiplications with zeros, fewer are more products."""


def _band(taps: Tensor, step: int) -> Tensor:
    """Matrix that correlates a column of pixels with ``taps``, ``_BLOCK`` values."""
    # The taps with zeros behind them, again and again, in lines that are `step` shorter than that.
    width = step * (_BLOCK - 1) + len(taps)
    return F.pad(taps, (0, width + step - len(taps))).repeat(_BLOCK)[: _BLOCK * width].view(_BLOCK, width)


def _correlate_and_transpose(x: Tensor, band: Tensor, step: int) -> Tensor:
    """Correlate a plane's rows with a band, inside: ⌈(W−K+1)/step⌉×H."""
    reach = band.shape[1] - step * (_BLOCK - 1)
    out = x.new_empty((x.shape[1] - reach) // step + 1, x.shape[0])
    blocks, rest = divmod(len(out), _BLOCK)
    whole = len(out) - rest
    if blocks:
        parts = x.unfold(1, band.shape[1], step * _BLOCK)[:, :blocks].permute(1, 2, 0)
        torch.bmm(band.expand(blocks, -1, -1), parts, out=out[:whole].view(blocks, _BLOCK, -1))
    if rest:
        band = band[:rest, : step * (rest - 1) + reach]
        torch.mm(band, x[:, step * whole : step * whole + band.shape[1]].mT, out=out[whole:])
    return out


def filter_rows(x: Tensor, taps: Tensor, step: int = 1) -> Tensor:
    """Correlate a plane's rows with ``taps``, transposed: ⌈(W−K+1)/step⌉×H."""
    return _correlate_and_transpose(x, _band(taps.to(x), step), step)


def filter_valid(x: Tensor, taps: Tensor, step: int = 1, factor: Tensor | None = None) -> Tensor:
    """Correlate with the outer product of ``taps``, inside the image.

    Args:
        x: N×1×H×W.
        taps: K weights.
        step: Take every ``step``-th pixel of the result, each way.
        factor: N×1×H×W, multiplied with ``x`` first.

    Returns:
        N×1×(H−K+1)×(W−K+1) if ``step`` is 1, as MATLAB's ``filter2(w, x, 'valid')``.
    """
    if x.device.type != 'cpu':
        return _filter_by_products(x if factor is None else x * factor, taps, step)
    from .kernels.filters import correlate

    height, width = ((n - len(taps)) // step + 1 for n in x.shape[-2:])
    out, taps = x.new_empty(len(x), 1, height, width), taps.to(x).numpy()
    factors = [None] * len(x) if factor is None else [plane.contiguous().numpy() for plane in factor[:, 0]]
    for plane, other, result in zip(x[:, 0], factors, out[:, 0], strict=True):
        correlate(plane.contiguous().numpy(), other, taps, step, result.numpy())
    return out


def _filter_by_products(x: Tensor, taps: Tensor, step: int = 1) -> Tensor:
    """:func:`filter_valid` by tensor operations."""
    band = _band(taps.to(x), step)
    planes = [_correlate_and_transpose(_correlate_and_transpose(plane, band, step), band, step) for plane in x[:, 0]]
    return torch.stack(planes)[:, None] if len(planes) > 1 else planes[0][None, None]


def local_moments(images: Sequence[Tensor], taps: Tensor) -> tuple[list[Tensor], Callable[[int, int], Tensor]]:
    """Compute local means of 1×1×H×W images, and ``cov(i, j)`` of local covariances."""
    mu = [filter_valid(x, taps) for x in images]

    def cov(i: int, j: int):
        return filter_valid(images[i], taps, factor=images[j]).addcmul_(mu[i], mu[j], value=-1)

    return mu, cov


def halve(x: Tensor) -> Tensor:
    """Average 2×2 blocks; an odd last row or column is repeated.

    The same as averaging with a 2×2 window, borders mirrored, and keeping every second pixel of the result.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode='replicate')
    x = x[..., ::2, :] + x[..., 1::2, :]
    return (x[..., ::2] + x[..., 1::2]).div_(4)


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute Sobel responses across and down: N×1×(H+2)×(W+2) → two of N×1×H×W."""
    columns = (x[..., :-2, :] + x[..., 2:, :]).add_(x[..., 1:-1, :], alpha=2)
    rows = (x[..., :-2] + x[..., 2:]).add_(x[..., 1:-1], alpha=2)
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]
