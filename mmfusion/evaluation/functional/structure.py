"""Correlation and structure metrics: how alike fused image and sources are.

All take ``fused``, ``ir`` and ``vi``, N×1×H×W each (uint8; floating point with ``data_range=255`` or ``data_range=1``), or
``fused`` alone, and return N float64 values. ``protocol`` says which public code is followed where they differ; ``shared``
holds what several metrics have in common, see :func:`~mmfusion.evaluation.functional.memo.each`.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import indicator, prepare, ratio
from .filters import gaussian_window, halve, local_moments
from .memo import Shared, each
from .strips import strip_map, strip_sums


def _correlation(a: Tensor, *b) -> Tensor:
    """Pearson's correlation with an image or a difference; NaN if constant."""
    means = [x.mean() for x in (a, *b)]

    def sums(*strips):
        x, *y = (strip - mean for strip, mean in zip(strips, means, strict=True))
        y = y[0] if len(y) == 1 else y[0].sub_(y[1])
        return torch.stack([(x * y).sum(), x.square_().sum(), y.square_().sum()])

    product, *energies = strip_sums(sums, (a, *b))
    energy = (energies[0] * energies[1]).sqrt()
    # The mean of a constant image is not always exact: what remains of it is rounding, not contrast.
    return ratio(product, energy) if energy >= 1e-9 * a.numel() else torch.full_like(energy, math.nan)


def correlation_coefficient(fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None) -> Tensor:
    """CC: Pearson's correlation of the fused image with each source, averaged.

    ``CC = [r(F, IR) + r(F, VI)] / 2``; N values in [−1, 1], higher is better; NaN where an image is constant.

    P. Jagalingam, A. V. Hegde, "A review of quality metrics for fused image", Aquatic Procedia 4, 2015. The same in
    both protocols.

    Examples:
        >>> x = 100 * torch.rand(1, 1, 8, 8)
        >>> correlation_coefficient(x, 0.5 * x, x + 1, data_range=255).round(decimals=9)
        tensor([1.], dtype=torch.float64)
    """
    images = prepare(fused, ir, vi, data_range=data_range)
    return each(lambda _, f, a, b: (_correlation(f, a) + _correlation(f, b)) / 2, images)


def sum_of_correlations_of_differences(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None
) -> Tensor:
    """SCD: correlation of the part from one source with it.

    ``SCD = r(F − VI, IR) + r(F − IR, VI)``; N values in [−2, 2], higher is better; NaN where a source is constant, or the
    fused image differs from a source by a constant only.

    V. Aslantas, E. Bendes, "A new image quality metric for image fusion: The sum of the correlations of differences",
    AEÜ 69(12), 2015. The same in both protocols.
    """
    images = prepare(fused, ir, vi, data_range=data_range)
    return each(lambda _, f, a, b: _correlation(a, f, b) + _correlation(b, f, a), images)


def _squared_errors(fused: Tensor, ir: Tensor, vi: Tensor, data_range: float | None) -> tuple[Tensor, Tensor, int]:
    f, *sources = prepare(fused, ir, vi, data_range=data_range)

    def one(_: Shared, *row):
        return strip_sums(lambda x, y: (x - y).square_().sum(), row)

    to_ir, to_vi = (each(one, [f, source]) for source in sources)
    return to_ir, to_vi, f.shape[-2] * f.shape[-1]


def mean_squared_error(fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None) -> Tensor:
    """MSE: mean squared difference to the sources, of images in [0, 1].

    ``MSE = [mean (F − IR)² + mean (F − VI)²] / 2``; N values in [0, 1], lower is better.

    P. Jagalingam, A. V. Hegde, "A review of quality metrics for fused image", Aquatic Procedia 4, 2015. VIFB publishes
    no MSE; under that protocol it is the same formula, channel by channel.

    Examples:
        >>> black, white = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 255.)
        >>> mean_squared_error(white, white, black, data_range=255)
        tensor([0.5000], dtype=torch.float64)
    """
    to_ir, to_vi, pixels = _squared_errors(fused, ir, vi, data_range)
    return (to_ir + to_vi) / (2 * pixels * 255**2)


def root_mean_squared_error(
    fused: Tensor, ir: Tensor, vi: Tensor, *, protocol: str = 'tang', data_range: float | None = None
) -> Tensor:
    """RMSE: root of the squared difference to each source, averaged.

    - ``'tang'``: ``[√mean(F − IR)² + √mean(F − VI)²] / 2`` of images in [0, 1], range [0, 1] (the public code has
      none; this is the textbook's).
    - ``'vifb'``: ``[√Σ(F − IR)² + √Σ(F − VI)²] / (2·H·W)`` of images in 0–255: the root is taken before the division
      by the number of pixels, so the value falls with the size of the image.

    N values, lower is better.

    P. Jagalingam, A. V. Hegde, "A review of quality metrics for fused image", Aquatic Procedia 4, 2015.
    """
    to_ir, to_vi, pixels = _squared_errors(fused, ir, vi, data_range)
    if protocol == 'vifb':
        return (to_ir.sqrt() + to_vi.sqrt()) / (2 * pixels)
    return (to_ir.sqrt() + to_vi.sqrt()) / (2 * 255 * math.sqrt(pixels))


def peak_signal_to_noise_ratio(
    fused: Tensor, ir: Tensor, vi: Tensor, *, protocol: str = 'tang', data_range: float | None = None
) -> Tensor:
    """PSNR in dB, as public codes compute it, not the textbook.

    ``PSNR = 20 log10(255 / √E)``; N values, higher is better; +∞ where the fused image equals both sources.

    - ``'tang'``: E is :func:`mean_squared_error`, of images in [0, 1], under a peak of 255: values lie 48.13 dB above
      the textbook's.
    - ``'vifb'``: E is :func:`root_mean_squared_error` of the same protocol (already a root).

    P. Jagalingam, A. V. Hegde, "A review of quality metrics for fused image", Aquatic Procedia 4, 2015.
    """
    if protocol == 'vifb':
        error = root_mean_squared_error(fused, ir, vi, protocol=protocol, data_range=data_range)
    else:
        error = mean_squared_error(fused, ir, vi, data_range=data_range)
    return 20 * torch.log10(255 / error.sqrt())


_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _ssim_map(
    mu_a: Tensor, mu_b: Tensor, var_a: Tensor, var_b: Tensor, cov: Tensor, c1: float = _SSIM_C1, c2: float = _SSIM_C2
) -> Tensor:
    luminance = (mu_a * mu_b).mul_(2).add_(c1).div_((mu_a * mu_a).addcmul_(mu_b, mu_b).add_(c1))
    return (2 * cov).add_(c2).mul_(luminance).div_((var_a + var_b).add_(c2))


def ssim(fused: Tensor, ir: Tensor, vi: Tensor, *, protocol: str = 'tang', data_range: float | None = None) -> Tensor:
    """SSIM: structural similarity to the sources (11×11 Gaussian window, σ = 1.5).

    ``(2 μ_S μ_F + C₁)(2 σ_SF + C₂) / ((μ_S² + μ_F² + C₁)(σ_S² + σ_F² + C₂))``, averaged over the image.

    - ``'tang'``: the mean over both sources of MATLAB's ``ssim`` as the public code calls it: borders replicated, and
      its default for floating point images, L = 1, although they are in 0–255: ``C₁ = 0.01²``, ``C₂ = 0.03²``. Range
      [−1, 1]. (Earlier, the code called :func:`mef_ssim` here.)
    - ``'vifb'``: the sum over both sources, windows inside the image only, ``C₁ = (0.01·255)²``, ``C₂ = (0.03·255)²``.
      Range [−2, 2].

    N values, higher is better; defined for constant images.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE Trans. Image
    Processing 13(4), 2004.

    Args:
        fused, ir, vi: N×1×H×W, 11 pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=11)
    if protocol == 'tang':
        images = [F.pad(x, (5, 5, 5, 5), mode='replicate') for x in images]
        return each(lambda _, *row: _ssim_mean(row, 0.01**2, 0.03**2) / 2, images)
    return each(lambda _, *row: _ssim_mean(row), images)


def _windows_of(image: Tensor, size: int = 11) -> int:
    """Number of windows inside an image."""
    return (image.shape[-2] - size + 1) * (image.shape[-1] - size + 1)


def _ssim_mean(images: Sequence[Tensor], *constants) -> Tensor:
    """Means of the SSIM maps of one image, summed over its sources."""
    sums = strip_sums(lambda *strips: _similarity_sums(*strips, constants=constants), images, 10)
    return sums.sum() / _windows_of(images[0])


def _similarity_sums(*images, constants: Sequence[float] = ()) -> Tensor:
    """Sums of SSIM with each source, 2 values."""
    mu, cov = local_moments(images, gaussian_window(11, 1.5))
    var_f = cov(0, 0)
    maps = (_ssim_map(mu[k], mu[0], cov(k, k), var_f, cov(k, 0), *constants) for k in (1, 2))
    return torch.stack([similarity.sum() for similarity in maps])


def mef_ssim(fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None) -> Tensor:
    """MEF-SSIM: similarity of structure to the best of both sources.

    In every 11×11 window a desired patch is made from the two sources' mean-free patches (weights by their contrast,
    the more decided the more consistent the two are) and scaled to the higher contrast; the map is
    ``(2 σ_rF + C) / (σ_r² + σ_F² + C)`` under Gaussian weights (11×11, σ = 1.5), ``C = (0.03·255)²``. N values in [−1, 1],
    higher is better.

    K. Ma, K. Zeng, Z. Wang, "Perceptual quality assessment for multi-exposure image fusion", IEEE Trans. Image
    Processing 24(11), 2015.

    Args:
        fused, ir, vi: N×1×H×W, 11 pixels or more each way.
    """
    return each(lambda _, *row: _mef_ssim_mean(row), prepare(fused, ir, vi, data_range=data_range, min_size=11))


def _mef_ssim_mean(images: Sequence[Tensor]) -> Tensor:
    return strip_sums(_mef_ssim_sum, images, 10) / _windows_of(images[0])


def _mef_ssim_sum(fused: Tensor, ir: Tensor, vi: Tensor) -> Tensor:
    """Sum of the MEF structure map of 1×1×H×W images."""
    eps, area = torch.finfo(torch.float64).eps, 11 * 11
    _, box = local_moments((ir, vi), torch.full((11,), 1 / 11, dtype=torch.float64))
    var_a, var_b, cov_ab = box(0, 0).mul_(area).clamp_(min=0), box(1, 1).mul_(area).clamp_(min=0), box(0, 1).mul_(area)
    # Patch norms ‖s_k‖; the constant keeps flat patches stable.
    norm_a, norm_b = var_a.sqrt(), var_b.sqrt()
    norm_sum = torch.add(var_a, cov_ab, alpha=2).add_(var_b).clamp_(min=0).sqrt_()
    consistency = norm_sum.add_(eps).div_((norm_a + norm_b).add_(eps)).clamp_(max=1 - eps)
    power = consistency.mul_(math.pi / 2).tan_().clamp_(max=10)
    contrast_a, contrast_b = norm_a.add_(0.001), norm_b.add_(0.001)
    # x^y as e^(y log x): the contrast is positive, and torch.pow several times slower.
    weight_a, weight_b = ((c / 11).log_().mul_(power).exp_().add_(eps) for c in (contrast_a, contrast_b))
    share_a, share_b = weight_a.div_(contrast_a), weight_b.div_(contrast_b)
    # The desired patch is r = scale (share_a s_a + share_b s_b), with the higher one's contrast.
    aa, bb, ab = share_a * share_a, share_b * share_b, torch.mul(share_a, share_b).mul_(2)
    norm = var_a.mul_(aa).addcmul_(var_b, bb).addcmul_(cov_ab, ab).clamp_(min=0)
    # A desired patch without contrast keeps its scale.
    scale = norm.rsqrt_().mul_(torch.maximum(contrast_a, contrast_b)).nan_to_num_(posinf=1.0)
    _, cov = local_moments((fused, ir, vi), gaussian_window(11, 1.5))
    cov_rf = share_a.mul_(cov(0, 1)).addcmul_(share_b, cov(0, 2)).mul_(scale)
    var_r = aa.mul_(cov(1, 1)).addcmul_(bb, cov(2, 2)).addcmul_(ab, cov(1, 2)).mul_(scale.square_())
    return cov_rf.mul_(2).add_(_SSIM_C2).div_(var_r.add_(cov(0, 0)).add_(_SSIM_C2)).sum()


MS_SSIM_MIN_SIZE = {'tang': 44, 'vifb': 176}
"""The smallest side whose coarsest scale still holds an 11×11 window (3 scales, 5 scales)."""


def ms_ssim(
    fused: Tensor, ir: Tensor, vi: Tensor, *, protocol: str = 'tang', data_range: float | None = None
) -> Tensor:
    """MS-SSIM: structural similarity over several scales, halved each time.

    - ``'tang'``: MEF-MS-SSIM, ``Π Q_l^(β_l)`` of :func:`mef_ssim` at three scales,
      β = (0.0448, 0.2856, 0.3001) over their sum. Range [0, 1]; NaN where a scale's similarity is negative, whose
      power is not real. K. Ma et al. 2015.
    - ``'vifb'``: the sum over both sources of Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural
      similarity for image quality assessment", Asilomar 2003: contrast-structure at five scales and luminance at the
      coarsest, β = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333). Range [0, 2]; NaN as above (the benchmark publishes none).

    N values, higher is better.

    Args:
        fused, ir, vi: N×1×H×W, 44 (``'vifb'``: 176) pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=MS_SSIM_MIN_SIZE[protocol])
    one = _mef_ms_ssim if protocol == 'tang' else _ms_ssim
    return each(lambda _, *row: one(row), images)


_BETA = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _mef_ms_ssim(images: Sequence[Tensor]) -> Tensor:
    result = 1
    for level, beta in enumerate(_BETA[:3]):
        if level:
            images = [halve(x) for x in images]
        result = result * _mef_ssim_mean(images) ** (beta / sum(_BETA[:3]))
    return result


def _ms_ssim(images: Sequence[Tensor]) -> Tensor:
    """Similarities multiplied over the scales, summed over the sources."""
    result = 1
    for level, beta in enumerate(_BETA):
        if level:
            images = [halve(x) for x in images]
        sums = strip_sums(_structure_sums if level < len(_BETA) - 1 else _similarity_sums, images, 10)
        result = result * (sums / _windows_of(images[0])) ** beta
    return result.sum()


def _structure_sums(*images):
    """Sums of the contrast-structure part of SSIM with each source, 2 values."""
    _, cov = local_moments(images, gaussian_window(11, 1.5))
    var_f = cov(0, 0)
    return torch.stack([((2 * cov(k, 0) + _SSIM_C2) / (cov(k, k) + var_f + _SSIM_C2)).sum() for k in (1, 2)])


_FLAT = 1e-8
"""Patches with variances below this are flat up to rounding (those of 8-bit patches are above 1e-3)."""


def _share(part: Tensor, whole: Tensor, flat: float) -> Tensor:
    """``part / whole``, and ``flat`` where the variance ``whole`` is zero."""
    return (part / whole.clamp(min=_FLAT)).sub_(flat).mul_(indicator(torch.ge, whole, _FLAT)).add_(flat)


def qy(fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None) -> Tensor:
    """Qy: Yang's similarity, to both sources or to the better one.

    Both count where they agree. With SSIM (7×7 Gaussian, σ = 1.5, no constants) and ``λ = σ_IR² / (σ_IR² + σ_VI²)`` per
    window: ``λ SSIM(IR, F) + (1 − λ) SSIM(VI, F)`` where ``SSIM(IR, VI) ≥ 0.75``, else ``max(SSIM(IR, F), SSIM(VI, F))``;
    averaged. N values in [−1, 1], higher is better.

    C. Yang et al., "A novel similarity based quality metric for image fusion", Information Fusion 9, 2008, as in Z.
    Liu's toolbox. Its constants of 2e-16 only keep 0 / 0 away; here flat patches are told by their variance instead,
    so that rounding does not decide: two flat patches have the similarity of their means, a flat and a textured one 0.
    The same in both protocols.

    Args:
        fused, ir, vi: N×1×H×W, 7 pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=7)
    return each(lambda _, *row: strip_sums(_qy_sum, row, 6) / _windows_of(row[0], 7), images)


def _similarity(mu_a: Tensor, mu_b: Tensor, var_a: Tensor, var_b: Tensor, cov: Tensor) -> Tensor:
    """SSIM without constants; of flat patches, the luminance part alone."""
    # Two black patches, 0 / 0, are alike.
    luminance = (mu_a * mu_b).mul_(2).div_((mu_a * mu_a).addcmul_(mu_b, mu_b)).nan_to_num_(nan=1.0)
    return luminance.mul_(_share(2 * cov, var_a + var_b, flat=1))


def _qy_sum(*images):
    mu, cov = local_moments(images, gaussian_window(7, 1.5))
    var = [cov(k, k).clamp_(min=0) for k in range(3)]
    between = _similarity(mu[1], mu[2], var[1], var[2], cov(1, 2))
    to_a = _similarity(mu[1], mu[0], var[1], var[0], cov(1, 0))
    to_b = _similarity(mu[2], mu[0], var[2], var[0], cov(2, 0))
    both = torch.lerp(to_b, to_a, _share(var[1], var[1] + var[2], flat=0.5))
    return torch.lerp(torch.maximum(to_a, to_b), both, indicator(torch.ge, between, 0.75)).sum()


def qw(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """Qw: Piella's weighted fusion quality index.

    ``Qw = Σ c [λ SSIM(F, IR) + (1 − λ) SSIM(F, VI)]`` with SSIM as in :func:`ssim` (``'vifb'``),
    ``λ = σ_IR² / (σ_IR² + σ_VI²)`` and ``c`` proportional to ``max(σ_IR², σ_VI²)``, summing to one; N values in [−1, 1],
    higher is better; defined for constant images (there λ = 1/2 and all windows count alike).

    G. Piella, H. Heijmans, "A new quality metric for image fusion", ICIP 2003, as in Z. Liu's toolbox. The same in
    both protocols.

    Args:
        fused, ir, vi: N×1×H×W, 11 pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=11)
    return each(lambda shared, *row: shared(_qw_one, *row), images, shared)


def _qw_one(_: Shared, *images) -> Tensor:
    weighted, weights = strip_sums(_qw_sums, images, 10)
    return weighted / weights


def _qw_sums(*images):
    mu, cov = local_moments(images, gaussian_window(11, 1.5))
    var_f, var_a, var_b = (cov(k, k) for k in range(3))
    to_a = _ssim_map(mu[1], mu[0], var_a, var_f, cov(1, 0))
    to_b = _ssim_map(mu[2], mu[0], var_b, var_f, cov(2, 0))
    total = var_a + var_b
    quality = torch.lerp(to_b, to_a, _share(var_a, total, flat=0.5))
    # Where both sources are flat, all windows count alike.
    saliency = torch.maximum(var_a, var_b).sub_(0.5).mul_(indicator(torch.ge, total, _FLAT)).add_(0.5)
    return torch.stack([quality.mul_(saliency).sum(), saliency.sum()])


def qe(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """Qe: Piella's edge-dependent fusion quality index.

    ``Qe = Qw(F, IR, VI) · Qw(F′, IR′, VI′)`` with :func:`qw` and Prewitt gradient magnitudes X′ (zeros around the
    image); N values in [−1, 1], higher is better.

    G. Piella, H. Heijmans, "A new quality metric for image fusion", ICIP 2003. Z. Liu's toolbox names ``Q·Qw`` in its
    code an edge index but never sets Q; this is the paper's formula with α = 1. The same in both protocols.

    Args:
        fused, ir, vi: N×1×H×W, 11 pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=11)
    return each(_qe_one, images, shared)


def _qe_one(shared: Shared, *images) -> Tensor:
    return shared(_qw_one, *images) * _qw_one(shared, *(_prewitt(x) for x in images))


def _prewitt(x: Tensor) -> Tensor:
    return strip_map(_prewitt_strength, [F.pad(x, (1, 1, 1, 1))], 2)


def _prewitt_strength(x: Tensor) -> Tensor:
    columns = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    rows = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    gx = columns[..., 2:] - columns[..., :-2]
    gy = rows[..., 2:, :] - rows[..., :-2, :]
    return gx.square_().add_(gy.square_()).sqrt_()
