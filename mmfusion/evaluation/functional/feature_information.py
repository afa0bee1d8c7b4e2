"""FMI by the public Fast-FMI definition, without a loop over pixels.

In every 3×3 window the nine feature values, read column by column and scaled to sum one, are taken as a distribution
over the positions 1…9. The joint distribution of two windows is a mixture ``φ U + (1 − φ) p q`` of the comonotone one
(Fréchet's upper bound, or for negatively correlated windows the lower one) and independence, with φ chosen from
Pearson's correlation of the windows. The mutual information over the mean entropy is the window's value.

``U`` is not zero in at most 17 of the 81 cells, and the others have a closed form. Cells of ``U`` are stretches of
[0, 1] between neighbours among the steps of both cumulative distributions, so merging the two sorted lists of eight
steps each finds them all. And the lower bound is the upper bound with one of the windows reversed.

Here this is written with tensor operations, for a GPU; ``kernels.feature_information`` has it compiled for a CPU, where it
is several times faster.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import indicator, prepare
from .filters import filter_rows
from .memo import each
from .strips import strip_map, strip_sums

_CELLS = 9
_CHUNK = 1 << 14
"""Windows at a time and thread: fewer are more calls, more do not stay in the processor's cache."""
_TINY = 1e-30
"""Keeps zero out of logarithms: far above the smallest float32, where arithmetic becomes slow, far below what counts."""
_GRAIN = 2.0**-36
"""Features are rounded to this: what they differ by where an image is flat is the arithmetic's rounding, about 1e-13, and
windows, whose scale does not count, would take it for structure. The wavelet's least tap gives some 1e-10."""

# Low-pass decomposition filter of the discrete Meyer wavelet ('dmey'): a zero, then these, then mirrored.
_DMEY_HALF = (
    -1.009999956941423e-12, 8.519459636796214e-09, -1.111944952595278e-08, -1.0798819539621958e-08,
    6.066975741351135e-08, -1.0866516536735883e-07, 8.200680650386481e-08, 1.1783004497663934e-07,
    -5.506340565252278e-07, 1.1307947017916706e-06, -1.489549216497156e-06, 7.367572885903746e-07,
    3.20544191334478e-06, -1.6312699734552807e-05, 6.554305930575149e-05, -0.0006011502343516092,
    -0.002704672124643725, 0.002202534100911002, 0.006045814097323304, -0.006387718318497156, -0.011061496392513451,
    0.015270015130934803, 0.017423434103729693, -0.03213079399021176, -0.024348745906078023, 0.0637390243228016,
    0.030655091960824263, -0.13284520043622938, -0.035087555656258346, 0.44459300275757724, 0.7445855923188063,
)  # fmt: skip


def feature_mutual_information(
    fused: Tensor, ir: Tensor, vi: Tensor, *, feature: str = 'edge', data_range: float | None = None
) -> Tensor:
    """FMI: mutual information of the images' features, window by window.

    ``FMI = mean over windows of [FMI(F, IR) + FMI(F, VI)] / 2`` with ``FMI(F, S) = 2 I(F; S) / (H(F) + H(S))`` of the
    3×3 windows' distributions (see the module); 1 for equal windows. About [0, 1], higher is better. Both windows flat
    count as 1, one of them flat as 0.

    The public code's three forms:

    - FMI_pixel: ``feature='edge'``. The code's help calls raw pixels its default, but what it runs is MATLAB's
      ``edge`` (Sobel, automatic threshold, thinned); ``feature='none'`` gives raw pixels;
    - FMI_dct: ``'dct'``, the two-dimensional DCT of the whole image;
    - FMI_w: ``'wavelet'``, one level of the discrete Meyer wavelet, the four bands side by side.

    The same in both protocols. M. Haghighat, M. A. Razian, "Fast-FMI: non-reference image fusion metric", AICT 2014.

    Args:
        fused, ir, vi: N×1×H×W, 3 pixels or more each way.
        feature: ``'edge'``, ``'none'``, ``'gradient'``, ``'dct'`` or ``'wavelet'``.
        data_range: 255 or 1; must be given but for uint8 images.

    Returns:
        N values.

    Raises:
        ValueError: If the feature is unknown.

    Examples:
        >>> x = torch.rand(1, 1, 8, 8)
        >>> feature_mutual_information(x, x, x, feature='none', data_range=1)
        tensor([1.], dtype=torch.float64)
    """
    if feature not in _FEATURES:
        raise ValueError(f'unknown feature {feature!r}; known are {", ".join(_FEATURES)}')
    images = prepare(fused, ir, vi, data_range=data_range, min_size=3)
    similarity = _binary_similarity if feature == 'edge' else _similarity
    return each(lambda _, *row: similarity(*(_FEATURES[feature](x[0, 0]) for x in row)), images)


def _windows(maps: Tensor) -> Tensor:
    """S×H×W maps → 9×S×P values of 3×3 windows, less their least.

    The P windows go row by row, their values column by column. The difference is taken in the maps' precision; what
    follows needs no more than single.
    """
    height, width = maps.shape[1] - 2, maps.shape[2] - 2
    values = torch.stack([maps[:, k % 3 : k % 3 + height, k // 3 : k // 3 + width] for k in range(_CELLS)])
    return (values - values.amin(0)).float().flatten(2)


def _equal_windows(maps: Tensor) -> Tensor:
    """1 where a source's 3×3 window equals the first map's: (S−1)×P."""
    same = indicator(torch.eq, maps[1:], maps[:1].expand_as(maps[1:]))
    same = same[:, :-2] * same[:, 1:-1] * same[:, 2:]
    return (same[..., :-2] * same[..., 1:-1] * same[..., 2:]).flatten(1).float()


def _p_log_p(x: Tensor) -> Tensor:
    """``Σ x log2 |x|`` over the first dimension, zeros adding nothing.

    Negative numbers (φ > 1) are treated as the public code's real part has them.
    """
    return torch.addcmul(x.new_full((), _TINY), x, x).log2_().mul_(x).sum(0).div_(2)


def _merged_steps(p: Tensor, reverse: Tensor) -> Tensor:
    """Merge the first distribution's steps with each source's, perhaps reversed.

    Args:
        p: 9×S×P distributions.
        reverse: (S−1)×P, 0 or 1.

    Returns:
        16×(S−1)×P float32 in [0, 1], ascending; the last bit of a source's step is set, of the others' not.
    """
    sources = torch.lerp(p[:8, 1:], p.flip(0)[:8, 1:], reverse)
    rising, source_steps = (torch.stack([*accumulate(x, torch.add)]) for x in (p[:8, :1], sources))
    # A merge by comparing and exchanging wants the second list descending. Floats from 0 on are in the order of their
    # bits, read as whole numbers.
    steps = torch.cat([rising.expand_as(source_steps), source_steps.flip(0)]).view(torch.int32)
    steps[:8].bitwise_and_(-2)
    steps[8:].bitwise_or_(1)
    for distance in (8, 4, 2, 1):
        below, above = steps.view(8 // distance, 2, distance, *reverse.shape).unbind(1)
        steps = torch.stack([torch.minimum(below, above), torch.maximum(below, above)], 1).flatten(0, 2)
    return steps.view(torch.float32)


def _cells(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Masses and products ``p_i q_j`` of the 17 cells between steps.

    The cells lie between neighbours of 0, the merged steps, and 1. A step ends a position, whose length reaches back to the
    last step of the same distribution. The two positions that meet in a cell are the one that the cell's second step ends,
    and the one that the next step of the other distribution ends; 1 is a step of both.

    Args:
        steps: 16×K×P of :func:`_merged_steps`.

    Returns:
        17×K×P masses and products, these ``_TINY`` or more.
    """
    # Rounded sums may be above 1.
    mass = torch.cat([steps[:1], steps[1:] - steps[:-1], (1 - steps[-1:]).clamp_(min=0)])
    tags, same = steps.view(torch.int32) & 1, torch.zeros_like(mass)
    same[1:-1] = tags[1:] == tags[:-1]  # whether a cell's two steps are of one distribution
    before, other = torch.zeros_like(mass), mass.clone()
    # From a cell's first step back to the last one of the other distribution.
    for k in range(16):
        torch.addcmul(mass[k], same[k], before[k], out=before[k + 1])
    length = torch.addcmul(mass, same, before, value=-1).add_(before)
    for k in range(16, 0, -1):
        torch.lerp(length[k], other[k], same[k], out=other[k - 1])
    return mass, torch.addcmul(mass.new_full((), _TINY), length, other)


def _covariance(steps: Tensor, mean: Tensor, second: Tensor, reverse: Tensor) -> Tensor:
    """Covariances of the positions under ``U``, (S−1)×P: ``Σ_ij min(P_i, Q_j) − P_i Q_j`` of the steps.

    The minima of all pairs of a sorted list ``t_1 … t_n`` sum to ``Σ (n − k) t_k``. So the pairs across two lists are
    those of the merged list less those within either, which the moments of the positions tell.

    Args:
        steps: 16×(S−1)×P float32 merged steps.
        mean, second: S×P moments of the positions −4…4.
        reverse: Where the source's window is reversed.
    """
    total = 4 - mean
    weighted = 28 - (second + 7 * mean + 12) / 2
    within = 7 * total - weighted
    source_total = torch.lerp(total[1:], 8 - total[1:], reverse)
    source_within = torch.lerp(within[1:], 28 - weighted[1:], reverse)
    ranks = torch.arange(15, -1, -1, dtype=steps.dtype, device=steps.device)
    merged = (ranks @ steps.flatten(1)).view_as(reverse)
    return merged - within[:1] - source_within - total[:1] * source_total


def _information_shares(p: Tensor) -> Tensor:
    """Normalised mutual information of the first distribution and each other, 9×S×P → (S−1)×P.

    A distribution of nothing but zeros, as flat windows have, gives a meaningless, but finite value.
    """
    position = torch.arange(_CELLS, dtype=p.dtype, device=p.device) - _CELLS // 2
    mean, second = (torch.stack([position, position**2]) @ p.flatten(1)).view(2, *p.shape[1:])
    spread = (second - mean**2).clamp_(min=0).sqrt_()
    entropy, energy = -_p_log_p(p), (p * p).sum(0).sub_(1 / _CELLS)
    correlation = (p[:, 1:] * p[:, :1]).sum(0).sub_(1 / _CELLS).div_((energy[1:] * energy[:1]).sqrt_())
    reverse = indicator(torch.lt, correlation, 0)
    steps = _merged_steps(p, reverse)
    share = correlation.abs_() * (spread[1:] * spread[:1]) / _covariance(steps, mean, second, reverse)
    share.nan_to_num_(nan=0, posinf=0, neginf=0)
    rest, total = 1 - share, entropy[1:] + entropy[:1]
    mass, product = _cells(steps)
    # All p_i q_j times rest have the entropy rest · total − rest log rest. In the cells of U they are exchanged.
    exchanged = (product.log2() * product).sum(0) + total
    elsewhere = 1 - product.sum(0)
    joint = exchanged * rest - _p_log_p(rest[None]) * elsewhere - _p_log_p(torch.addcmul(product * rest, mass, share))
    return (total - joint).mul_(2).div_(total).nan_to_num_(nan=0, posinf=0, neginf=0)


def _values(windows: Tensor, equal: Tensor) -> Tensor:
    """The value of each pair of windows.

    Args:
        windows: 9×S×P as of :func:`_windows`, the fused image's and then the sources'.
        equal: (S−1)×P, 1 where a source's window equals the fused one's, else 0.

    Returns:
        (S−1)×P.
    """
    total = windows.sum(0)
    flat = indicator(torch.eq, total, 0)
    value = _information_shares(windows / (total + flat))
    one = torch.maximum(equal, flat[1:] * flat[:1])
    zero = torch.maximum(flat[1:], flat[:1])
    return value.mul_(1 - torch.maximum(one, zero)).add_(one)


def _similarity(*maps):
    """FMI of H×W feature maps, the fused image's and then the sources'."""
    maps = torch.stack(maps).div_(_GRAIN).round_().mul_(_GRAIN)
    pairs = (len(maps) - 1) * (maps.shape[1] - 2) * (maps.shape[2] - 2)
    if maps.device.type == 'cpu':
        # Imported here, as all that is compiled: numba takes a second, which only those pay who compute metrics.
        from .kernels.feature_information import window_sum

        return maps.new_tensor(window_sum(maps.numpy(), torch.get_num_threads()) / pairs)
    return _window_sum(maps) / pairs


def _window_sum(maps: Tensor) -> Tensor:
    """Sum the values of S×H×W maps' windows, by tensor operations."""
    height, width = maps.shape[1] - 2, maps.shape[2] - 2
    rows = max(1, _CHUNK * torch.get_num_threads() // width)
    strips = (maps[:, top : top + rows + 2] for top in range(0, height, rows))
    return sum(_values(_windows(strip), _equal_windows(strip)).sum(dtype=torch.float64) for strip in strips)


def _binary_similarity(*maps):
    """FMI of binary maps: each distinct pair of windows once."""
    counts = strip_sums(_pair_counts, maps, 2)
    pairs = counts.nonzero()[:, 0]
    codes = torch.stack([pairs // 512, pairs % 512])
    windows = (codes >> torch.arange(_CELLS, device=codes.device)[:, None, None] & 1).float()
    value = _values(windows - windows.amin(0), (codes[1:] == codes[:1]).float())
    return (value[0].double() * counts[pairs]).sum() / counts.sum()


def _pair_counts(*maps):
    """How often windows of both images meet, 512² counts."""
    fused, *sources = (_window_code(x) for x in maps)
    return torch.bincount(torch.cat([fused * 512 + source for source in sources]), minlength=512 * 512)


def _window_code(x: Tensor) -> Tensor:
    """Each 3×3 window of a binary map as the bits of a number."""
    x = x.int()
    columns = x[:-2] + 2 * x[1:-1] + 4 * x[2:]
    return (columns[:, :-2] + 8 * columns[:, 1:-1] + 64 * columns[:, 2:]).flatten().long()


def _edge(x: Tensor) -> Tensor:
    """MATLAB's ``edge``: Sobel over 8, threshold 2 × RMS, thinned."""
    padded = F.pad(x[None, None], (1, 1, 1, 1), mode='replicate')[0, 0]
    strength = strip_map(lambda strip: sum(g.square_() for g in _edge_gradients(strip)), [padded], 2)
    threshold = 4 * strength.mean()
    return strip_map(lambda *strips: _thinned(*strips, threshold), [padded, F.pad(strength, (1, 1, 1, 1), value=-1)], 2)


def _edge_gradients(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel over 8, across and down."""
    columns = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (columns[:, 2:] - columns[:, :-2]) / 8, (rows[2:] - rows[:-2]) / 8


def _thinned(padded: Tensor, around: Tensor, threshold: Tensor) -> Tensor:
    """Where an edge is, from image and strengths with border."""
    gx, gy = _edge_gradients(padded)
    strength = around[1:-1, 1:-1]
    left, right, up, down = around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]
    gx, gy, tolerance = gx.abs_(), gy.abs_(), 100 * torch.finfo(padded.dtype).eps
    across = (gx >= gy - tolerance) & (left <= strength) & (strength > right)
    along = (gy >= gx - tolerance) & (up <= strength) & (strength > down)
    return (strength > threshold) & (across | along)


def _gradient(x: Tensor) -> Tensor:
    """MATLAB's ``gradient`` with one output: differences across."""
    return torch.gradient(x, dim=1)[0]


def _dct_rows(x: Tensor) -> Tensor:
    """Orthonormal DCT-II of rows, through one real FFT (Makhoul 1980)."""
    length = x.shape[-1]
    spectrum = torch.fft.rfft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1))
    angle = torch.arange(spectrum.shape[-1], dtype=x.dtype, device=x.device) * (-torch.pi / (2 * length))
    spectrum.mul_(torch.polar(torch.full_like(angle, (2 / length) ** 0.5), angle))
    result = torch.cat([spectrum.real, spectrum.imag[..., 1 : (length + 1) // 2].flip(-1).neg_()], dim=-1)
    result[..., 0] /= 2**0.5
    return result


def _dct(x: Tensor) -> Tensor:
    # Columns are read a strip at a time: a transposed copy of the plane would take longer than the transform.
    return strip_map(_dct_rows, [strip_map(_dct_rows, [x]).mT]).mT


def _dwt_rows(x: Tensor, taps: Sequence[Tensor]) -> list[Tensor]:
    """One wavelet level of rows, borders mirrored: bands W′×H."""
    length, count = x.shape[-1], len(taps[0])
    # MATLAB keeps every second value of the convolution, from the second.
    index = torch.arange(2 - count, length + count - 1, device=x.device) % (2 * length)
    padded = x[:, torch.minimum(index, 2 * length - 1 - index)]
    return [filter_rows(padded, band.flip(0), step=2) for band in taps]


def _wavelet(x: Tensor) -> Tensor:
    low = x.new_tensor([0.0, *_DMEY_HALF, *_DMEY_HALF[-2::-1]])
    high = low.flip(0)
    high[::2].neg_()
    # The low band of the rows gives cA and cH, the high band below it cV and cD.
    return torch.cat([torch.cat(_dwt_rows(band, (low, high)), dim=1) for band in _dwt_rows(x, (low, high))])


_FEATURES = {'edge': _edge, 'none': lambda x: x, 'gradient': _gradient, 'dct': _dct, 'wavelet': _wavelet}
