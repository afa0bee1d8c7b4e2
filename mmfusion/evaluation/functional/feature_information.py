"""FMI: feature mutual information, by the public Fast-FMI definition, without a loop over pixels or cells.

In every 3×3 window the nine feature values, read column by column and scaled to sum one, are taken as a distribution
over the positions 1…9. The joint distribution of two windows is a mixture ``φ U + (1 − φ) p q`` of the comonotone one
(Fréchet's upper bound, or for negatively correlated windows the lower one) and independence, with φ chosen from
Pearson's correlation of the windows. The mutual information over the mean entropy is the window's value.

Two facts make it fast. ``U`` is not zero in at most 17 of the 81 cells, a staircase, and the others have a closed form.
And the lower bound is the upper bound with one of the windows reversed.
"""

import torch
import torch.nn.functional as F

from .checks import each, prepare

_CELLS = 9
_CHUNK = 1 << 14

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


def feature_mutual_information(fused, ir, vi, *, feature='edge', data_range=255.0):
    """FMI: how much of the sources' features the fused image's features tell, window by window.

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
        fused, ir, vi (Tensor): N×1×H×W, 3 pixels or more each way.
        feature (str): ``'edge'``, ``'none'``, ``'gradient'``, ``'dct'`` or ``'wavelet'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Raises:
        ValueError: An unknown feature.

    Examples:
        >>> x = torch.rand(1, 1, 8, 8)
        >>> feature_mutual_information(x, x, x, feature='none', data_range=1)
        tensor([1.], dtype=torch.float64)
    """
    if feature not in _FEATURES:
        raise ValueError(f'unknown feature {feature!r}; known are {", ".join(_FEATURES)}')
    images = prepare(fused, ir, vi, data_range=data_range, min_size=3)
    similarity = _binary_similarity if feature == 'edge' else _similarity
    return each(lambda *row: similarity(*(_FEATURES[feature](x[0, 0]) for x in row)), images)


def _windows(plane):
    """H×W → 9×((H−2)·(W−2)): the values of each 3×3 window, column by column."""
    height, width = plane.shape[0] - 2, plane.shape[1] - 2
    parts = [plane[r : r + height, c : c + width].reshape(-1) for c in range(3) for r in range(3)]
    return torch.stack(parts)


def _distribution(windows):
    """9×P values → distributions over the nine positions (flat windows: uniform), and which windows are flat."""
    low, high = windows.amin(0), windows.amax(0)
    flat = low == high
    scaled = (windows - low).masked_fill_(flat, 1)
    return scaled.div_(scaled.sum(0)), flat


def _information(p):
    """Σ −p log|p| over the first dimension; negative arguments (φ > 1) as the public code's real part has them."""
    tiny = torch.finfo(p.dtype).tiny
    return p.abs().clamp_(min=tiny).log_().mul_(p).sum(0).neg_()


def _spread(p):
    """Standard deviation of the position under 9×P distributions, zero where one position has everything."""
    position = torch.arange(1, _CELLS + 1, dtype=p.dtype, device=p.device)[:, None]
    mean = (position * p).sum(0)
    return ((position - mean) ** 2 * p).sum(0).sqrt_()


def _staircase(p, q):
    """The cells that the comonotone joint distribution of 9×P distributions passes through, at most 17.

    Cell (i, j) holds the overlap of the intervals that position i and position j have in the cumulative distributions.
    The path steps right or down, so that at most one cell of each anti-diagonal is not empty.

    Returns:
        tuple[Tensor, Tensor, Tensor]: 17×P masses, 17×P products ``p_i q_j`` of the cells, and P covariances of the
        positions, ``Σ_ij min(P_i, Q_j) − P_i Q_j`` of the cumulative distributions.
    """
    zero = p.new_zeros(1, p.shape[1])
    cdf_p, cdf_q = torch.cat([zero, p.cumsum(0)]), torch.cat([zero, q.cumsum(0)])
    cdf_p[-1], cdf_q[-1] = 1, 1
    mass = p.new_zeros(2 * _CELLS - 1, p.shape[1])
    product = torch.zeros_like(mass)
    covariance = -cdf_p[1:].sum(0) * cdf_q[1:].sum(0)
    low, high = torch.empty_like(p), torch.empty_like(p)
    for j in range(_CELLS):
        torch.minimum(cdf_p[1:], cdf_q[j + 1], out=low)
        covariance += low.sum(0)
        torch.maximum(cdf_p[:-1], cdf_q[j], out=high)
        overlap = low.sub_(high).clamp_(min=0)
        mass[j : j + _CELLS] += overlap
        product[j : j + _CELLS].addcmul_(overlap.sign_().mul_(p), q[j])
    return mass, product, covariance


def _similarity_of(p, q):
    """Normalised mutual information of 9×P distributions, flat windows not yet considered."""
    p_, q_ = p - 1 / _CELLS, q - 1 / _CELLS
    correlation = (p_ * q_).sum(0) / ((p_**2).sum(0) * (q_**2).sum(0)).sqrt_()
    # Where the windows are negatively correlated, the lower bound is the upper one with one window reversed.
    q = torch.where(correlation < 0, q.flip(0), q)
    upper, product, covariance = _staircase(p, q)
    spread = _spread(p) * _spread(q)
    share = correlation.abs_() * spread / covariance
    share = torch.where((spread > 0) & share.isfinite(), share, 0)
    rest = 1 - share
    entropy_p, entropy_q = _information(p), _information(q)
    independent = product.mul_(rest)
    joint = _information(rest[None]) + rest * (entropy_p + entropy_q)
    joint -= _information(independent)
    joint += _information(upper.mul_(share).add_(independent))
    total = entropy_p + entropy_q
    return torch.where(total > 0, 2 * (total - joint) / total, 0)


def _pair(p, q, flat_p, flat_q, equal):
    value = torch.where(flat_p | flat_q, 0, _similarity_of(p, q))
    return torch.where(equal | (flat_p & flat_q), 1, value)


def _similarity(fused, ir, vi):
    """FMI of three H×W feature maps, a stretch of windows at a time."""
    height, width = fused.shape
    rows = max(1, _CHUNK // width)
    total = 0.0
    for top in range(0, height - 2, rows):
        f, a, b = (_windows(x[top : top + rows + 2]) for x in (fused, ir, vi))
        # Distances between windows decide in double precision; the distributions themselves need no more than single.
        (p, flat_p), *sources = (_distribution(x) for x in (f, a, b))
        for window, (q, flat_q) in zip((a, b), sources, strict=True):
            value = _pair(p.float(), q.float(), flat_p, flat_q, (window == f).all(0))
            total = total + value.double().sum()
    return total / (2 * (height - 2) * (width - 2))


def _binary_similarity(fused, ir, vi):
    """FMI of three H×W binary maps: each of the few distinct pairs of windows is computed once."""
    bits = 2 ** torch.arange(_CELLS, device=fused.device)[:, None]
    f, a, b = ((_windows(x.long()) * bits).sum(0) for x in (fused, ir, vi))
    counts = torch.bincount(torch.cat([f * 512 + a, f * 512 + b]), minlength=512 * 512)
    pairs = counts.nonzero()[:, 0]
    f, s = ((code & bits).ne(0).double() for code in (pairs // 512, pairs % 512))
    (p, flat_p), (q, flat_q) = _distribution(f), _distribution(s)
    value = _pair(p, q, flat_p, flat_q, (f == s).all(0))
    return (value * counts[pairs]).sum() / counts.sum()


def _edge(x):
    """MATLAB's ``edge`` with its defaults: Sobel over 8, threshold 2 × the RMS strength, thinned along the gradient."""
    padded = F.pad(x[None, None], (1, 1, 1, 1), mode='replicate')[0, 0]
    columns = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    gx, gy = (columns[:, 2:] - columns[:, :-2]) / 8, (rows[2:] - rows[:-2]) / 8
    strength = gx**2 + gy**2
    around = F.pad(strength, (1, 1, 1, 1), value=-1)
    left, right, up, down = around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]
    gx, gy, tolerance = gx.abs(), gy.abs(), 100 * torch.finfo(x.dtype).eps
    across = (gx >= gy - tolerance) & (left <= strength) & (strength > right)
    along = (gy >= gx - tolerance) & (up <= strength) & (strength > down)
    return (strength > 4 * strength.mean()) & (across | along)


def _gradient(x):
    """MATLAB's ``gradient`` with one output: differences across."""
    return torch.gradient(x, dim=1)[0]


def _dct_rows(x):
    """Orthonormal DCT-II of the last dimension, through one FFT of the same length (Makhoul 1980)."""
    length = x.shape[-1]
    spectrum = torch.fft.fft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1))
    angle = torch.arange(length, dtype=x.dtype, device=x.device) * (-torch.pi / (2 * length))
    result = (spectrum * torch.polar(torch.ones_like(angle), angle)).real * (2 / length) ** 0.5
    result[..., 0] /= 2**0.5
    return result


def _dct(x):
    return _dct_rows(_dct_rows(x).mT.contiguous()).mT.contiguous()


def _dwt_rows(x, low, high):
    """One level of the wavelet transform of the last dimension, borders mirrored: two tensors of half the length."""
    length, taps = x.shape[-1], len(low)
    index = torch.arange(1 - taps, length + taps - 1, device=x.device) % (2 * length)
    index = torch.minimum(index, 2 * length - 1 - index)
    # MATLAB keeps every second value of the convolution, from the second; so each phase of x meets half the taps.
    phases = x[..., index[1::2]], x[..., index[2::2]]
    count = (length + taps - 1) // 2
    bands = []
    for taps_of_band in (low, high):
        reverse = taps_of_band[::-1]
        out = torch.zeros(*x.shape[:-1], count, dtype=x.dtype, device=x.device)
        for k, tap in enumerate(reverse):
            if tap:
                phase = phases[k % 2]
                out.add_(phase[..., k // 2 : k // 2 + count], alpha=tap)
        bands.append(out)
    return bands


def _wavelet(x):
    low = [0.0, *_DMEY_HALF, *_DMEY_HALF[-2::-1]]
    high = [tap * (-1) ** (k + 1) for k, tap in enumerate(reversed(low))]
    bands = []
    for band in _dwt_rows(x, low, high):
        # Down the columns: the low band of the rows gives cA and cH, the high band cV and cD.
        bands.append(torch.cat([part.mT for part in _dwt_rows(band.mT.contiguous(), low, high)], dim=1))
    return torch.cat(bands)


_FEATURES = {'edge': _edge, 'none': lambda x: x, 'gradient': _gradient, 'dct': _dct, 'wavelet': _wavelet}
