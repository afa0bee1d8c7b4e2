"""Metrics of human perception.

All take ``fused``, ``ir`` and ``vi``, N×1×H×W each (uint8; floating point with ``data_range=255`` or ``data_range=1``), or
``fused`` alone, and return N float64 values. ``protocol`` says which public code is followed where they differ; ``shared``
holds what several metrics have in common, see :func:`~mmfusion.evaluation.functional.memo.each`.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import prepare, ratio
from .filters import filter_valid, gaussian_window, local_moments, sobel
from .memo import Shared, each
from .strips import STRIP, strip_sums

VIF_MIN_SIZE = 41
"""The smallest side for which each of VIF's four scales has a whole window."""

VIF_WINDOWS = (17, 9, 5, 3)
"""Side of the Gaussian windows of VIF's four scales, finest first; their σ is a fifth of it."""


def _log2_sum(x: Tensor) -> Tensor:
    """``Σ log2 x`` of numbers from 1 to 1e30, eight a logarithm."""
    eighth = x.numel() // 8
    rest, x = x.flatten()[8 * eighth :], x.flatten()[: 8 * eighth].view(8, eighth)
    for half in (4, 2, 1):
        x = x[:half].mul_(x[half:])
    return x.log2_().sum() + rest.log2().sum()


def _vif_terms(var_s: Tensor, var_f: Tensor, cov: Tensor, sigma_noise: float, eps: float = 1e-10) -> list[Tensor]:
    """Numerator and denominator of one source at one scale."""
    # A flat source patch tells nothing; and where the gain is not positive, the noise does not matter either.
    var_s = F.threshold(var_s, eps, 0)
    gain = (cov / (var_s + eps)).clamp_(min=0)
    noise = torch.addcmul(var_f, gain, cov, value=-1).clamp_(min=eps).add_(sigma_noise)
    kept = gain.square_().mul_(var_s).div_(noise).add_(1)
    return [_log2_sum(kept), _log2_sum(var_s.div_(sigma_noise).add_(1))]


def visual_information_fidelity(
    fused: Tensor,
    ir: Tensor,
    vi: Tensor,
    *,
    protocol: str = 'tang',
    data_range: float | None = None,
    sigma_noise: float = 2.0,
) -> Tensor:
    """VIF: the share of visual information kept, pixel domain, four scales.

    Per source, with local Gaussian statistics (windows 17, 9, 5, 3), the gain ``g = σ_SF / σ_S²`` and the residual
    ``σ_V² = σ_F² − g σ_SF``: ``Σ log(1 + g² σ_S² / (σ_V² + 2)) / Σ log(1 + σ_S² / 2)`` over all pixels and scales.

    - ``'tang'``: the sum over both sources, as the public code has it (range about [0, 2]).
    - ``'vifb'``: their mean, the other public convention (the benchmark itself publishes no VIF).

    N values, higher is better (above 1 per source means enhanced contrast); NaN where a source is constant.

    H. R. Sheikh, A. C. Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15(2), 2006;
    pixel-domain form ``vifp_mscale``.

    Args:
        fused, ir, vi: N×1×H×W, 41 pixels or more each way.
        sigma_noise: Variance of the visual noise.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=VIF_MIN_SIZE)
    total = each(lambda _, *row: _vif_sum(row, sigma_noise), images)
    return total if protocol == 'tang' else total / 2


def _vif_sum(images: Sequence[Tensor], sigma_noise: float) -> Tensor:
    sums = 0
    for size in VIF_WINDOWS:
        taps = gaussian_window(size, size / 5)
        if size != VIF_WINDOWS[0]:
            images = [filter_valid(x, taps, step=2) for x in images]
        sums = sums + strip_sums(lambda *strips, w=taps: _vif_scale(strips, w, sigma_noise), images, size - 1)
    return ratio(sums[0], sums[1]) + ratio(sums[2], sums[3])


def _vif_scale(images: Sequence[Tensor], taps: Tensor, sigma_noise: float) -> Tensor:
    """Numerators and denominators, infrared then visible, at one scale."""
    _, cov = local_moments(images, taps)
    var_f = cov(0, 0).clamp_(min=0)
    terms = [_vif_terms(cov(k, k).clamp_(min=0), var_f, cov(k, 0), sigma_noise) for k in (1, 2)]
    return torch.stack(terms[0] + terms[1])


VIFF_WEIGHTS = tuple(weight / 2.15 for weight in (1, 0, 0.15, 1))
"""Of VIFF's four scales, finest first, as the public code has them."""


def visual_information_fidelity_for_fusion(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, sigma_noise: float = 0.005 * 255**2
) -> Tensor:
    """VIFF: visual information kept, four scales, one source a pixel.

    Local statistics as :func:`visual_information_fidelity`, with another noise: of each source, the gain ``g``, the kept
    information ``VID = log(1 + g² σ_S² / (σ_V² + 325.125))`` and the whole ``VIND = log(1 + σ_S² / 325.125)``. At each pixel
    the source with the **lower** gain counts, the visible one where both are equal. A scale has ``Σ(VID + 1e-7) /
    Σ(VIND + 1e-7)``; VIFF is their sum, weighted by 1, 0, 0.15, 1 over 2.15.

    N values, higher is better: 1 of equal images, more where the contrast grows; defined for constant images, too (1 of
    constant sources).

    Y. Han, Y. Cai, Y. Cao, X. Xu, "A new image fusion performance metric based on visual information fidelity", Information
    Fusion 14(2), 2013. Logarithms cancel but for the 1e-7, which is of decimal ones, as in the public code (VIFF_Public).
    Of colour images that code takes L of CIELAB; here they are what the protocol makes of them. The same in both protocols.

    Args:
        fused, ir, vi: N×1×H×W, 41 pixels or more each way.
        sigma_noise: Variance of the visual noise.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=VIF_MIN_SIZE)
    return each(lambda _, *row: _viff_sum(row, sigma_noise), images)


def _viff_sum(images: Sequence[Tensor], sigma_noise: float) -> Tensor:
    total = 0
    for size, weight in zip(VIF_WINDOWS, VIFF_WEIGHTS, strict=True):
        taps = gaussian_window(size, size / 5)
        if size != VIF_WINDOWS[0]:
            images = [filter_valid(x, taps, step=2) for x in images]
        if weight:
            kept, whole = strip_sums(lambda *strips, w=taps: _viff_scale(strips, w, sigma_noise), images, size - 1)
            total = total + weight * kept / whole
    return total


def _viff_scale(images: Sequence[Tensor], taps: Tensor, sigma_noise: float) -> Tensor:
    """Kept and whole information at one scale, by lower gain."""
    _, cov = local_moments(images, taps)
    var_f = cov(0, 0).clamp_(min=0)
    ir, vi = (_viff_source(cov(k, k).clamp_(min=0), var_f, cov(k, 0)) for k in (1, 2))
    lower = ir[0] < vi[0]
    gain, var_s, noise = (torch.where(lower, a, b) for a, b in zip(ir, vi, strict=True))
    kept = gain.square_().mul_(var_s).div_(noise.add_(sigma_noise)).add_(1)
    logs = torch.stack([_log2_sum(kept), _log2_sum(var_s.div_(sigma_noise).add_(1))]) * math.log10(2)
    return logs + 1e-7 * lower.numel()


def _viff_source(var_s: Tensor, var_f: Tensor, cov: Tensor, eps: float = 1e-10) -> tuple[Tensor, Tensor, Tensor]:
    """Gain (0 or more), local variance and residual of a source."""
    # Neither a flat source nor a flat fused image has a gain.
    gain = (cov / (var_s + eps)).mul_((var_s >= eps) & (var_f >= eps)).clamp_(min=0)
    # Without a gain, the whole of the fused image is residual, and does not matter.
    noise = torch.addcmul(var_f, gain, cov, value=-1).clamp_(min=eps)
    return gain, F.threshold(var_s, eps, 0), noise


def _stretch(_: Shared, x: Tensor) -> Tensor:
    """Z. Liu's ``normalize1``, rounded; NaN for a constant image, not black."""
    low, high = x.aminmax()
    if high == 0:
        return x
    # Halves go up, as MATLAB rounds; torch.round takes them to the even neighbour.
    return (x - low).div_(high - low).mul_(255).add_(0.5).floor_()


def _gains(image: Tensor, scale: float, response: Callable[[Tensor], Tensor]) -> Tensor:
    """Gains of a contrast sensitivity, for the ``rfft2`` of an image.

    Args:
        image: 1×1×H×W.
        scale: Of the radial frequency: MATLAB's ``freqspace`` (−1…1) times (H, W) over ``scale``.
        response: Radial frequencies → gains.

    Returns:
        H×(W // 2 + 1).
    """
    height, width = image.shape[-2:]
    options = dict(dtype=image.dtype, device=image.device)
    v = torch.fft.fftfreq(height, **options).mul_(2 * height / scale)[:, None]
    u = torch.fft.rfftfreq(width, **options).mul_(2 * width / scale)
    gains = torch.empty(height, len(u), **options)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        gains[top : top + rows] = response(torch.hypot(v[top : top + rows], u))
    return gains


def _spectrum(shared: Shared, x: Tensor) -> Tensor:
    """Fourier transform of an image that is :func:`_stretch`ed first."""
    return torch.fft.rfft2(shared(_stretch, x))


def qcb(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """Qcb: Chen and Blum's metric of preserved visible contrast.

    Images are stretched to 0–255, filtered by a contrast sensitivity ``S(r) = e^(−(r/15.387)²) − 0.7622
    e^(−(r/1.3456)²)``, and turned to masked contrast ``C′ = C³ / (C² + 10⁻⁴)`` with ``C = |G₂ ∗ I / G₄ ∗ I − 1|``
    (Gaussians of σ = 2, 4 on 31×31). Per pixel ``Q_S = min(C′_S, C′_F) / max(C′_S, C′_F)``, weighted over the sources
    by ``C′_S²``; averaged. N values in [0, 1], higher is better; NaN where an image is constant and not black.

    Y. Chen, R. S. Blum, "A new automated quality assessment algorithm for image fusion", Image and Vision Computing
    27, 2009, as Z. Liu's toolbox and VIFB compute it. The same in both protocols.
    """
    return each(_qcb_one, prepare(fused, ir, vi, data_range=data_range), shared)


_VANISHING = 1e-150


def _qcb_one(shared: Shared, *images) -> Tensor:
    def sensitivity(r: Tensor):
        square = r.square_()
        return torch.exp(square / -(15.3870**2)).sub_(torch.exp(square / -(1.3456**2)), alpha=0.7622)

    gains = _gains(images[0], 30, sensitivity)
    filtered = (torch.fft.irfft2(shared(_spectrum, x) * gains, s=x.shape[-2:]) for x in images)
    padded = [F.pad(x, (15, 15, 15, 15)) for x in filtered]
    return strip_sums(_qcb_sum, padded, 30) / images[0].numel()


def _masked_contrast(padded: Tensor) -> Tensor:
    """``C′`` of a filtered image with 15 pixels more on each side."""
    # Unnormalised windows: 1/(2πσ²) over 31 pixels, as the public code has them.
    x = torch.arange(-15, 16, dtype=torch.float64)
    narrow, wide = (torch.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) for sigma in (2, 4))
    contrast = filter_valid(padded, narrow).div_(filter_valid(padded, wide)).sub_(1).abs_()
    square = contrast * contrast
    return contrast.mul_(square).div_(square.add_(1e-4))


def _qcb_sum(*padded):
    # No contrast in either image is contrast preserved, and none in both sources weighs them alike: 0 / 0 becomes 1, or
    # 1 / 2, by adding a number that disappears next to every other.
    c_f, *sources = (_masked_contrast(x).add_(_VANISHING) for x in padded)
    kept = [torch.minimum(c, c_f).div_(torch.maximum(c, c_f)) for c in sources]
    weights = [c * c + _VANISHING for c in sources]
    share = weights[0] / (weights[0] + weights[1])
    return torch.lerp(kept[1], kept[0], share).sum()


def qcv(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """Qcv: Chen and Varshney's visible error, weighted by regions' saliency.

    Images are stretched to 0–255. In blocks of 16×16 (the last ones filled up with zeros) the saliency of a source is
    ``Σ g⁵`` of its Sobel strength, and the error the mean square of ``S − F`` filtered by Mannos and Sakrison's contrast
    sensitivity ``2.6 (0.0192 + 0.144 r) e^(−(0.144 r)^1.1)``; ``Qcv = Σ saliency · error / Σ saliency`` over blocks and
    sources. N values in [0, ∞), lower is better; NaN where an image is constant and not black, or both sources are.

    H. Chen, P. K. Varshney, "A human perception inspired quality metric for image fusion based on regional
    information", Information Fusion 8(2), 2007, as Z. Liu's toolbox and VIFB compute it. The same in both protocols.
    """
    return each(_qcv_one, prepare(fused, ir, vi, data_range=data_range), shared)


def _blocks(x: Tensor) -> Tensor:
    """Mean of each 16×16 block, zeros beyond the border."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, -width % 16, 0, -height % 16))[0, 0]
    return x.unflatten(0, (-1, 16)).sum(1).unflatten(1, (-1, 16)).sum(2).div_(256)


def _qcv_one(shared: Shared, fused: Tensor, ir: Tensor, vi: Tensor) -> Tensor:
    def sensitivity(r: Tensor):
        r = r.mul_(0.144)
        # r^1.1 as e^(1.1 log r), several times faster than torch.pow; r is 0 once, where both give 0.
        return torch.exp(-torch.exp(1.1 * r.log())).mul_(r + 0.0192).mul_(2.6)

    sums, gains = 0, _gains(fused, 8, sensitivity)
    for source in (ir, vi):
        spectrum = (shared(_spectrum, source) - shared(_spectrum, fused)).mul_(gains)
        difference = torch.fft.irfft2(spectrum, s=fused.shape[-2:])
        # A row more above and below, as the source needs for its gradient.
        padded = F.pad(shared(_stretch, source), (1, 1, 1, 1)), F.pad(difference, (0, 0, 1, 1))
        sums = sums + strip_sums(_qcv_sums, padded, 2, multiple=16)
    return ratio(*sums)


def _qcv_sums(source: Tensor, difference: Tensor) -> Tensor:
    """Weighted error and weight of the blocks of one source."""
    gx, gy = sobel(source)
    energy = gx.square_().add_(gy.square_())
    saliency = _blocks(energy * energy * energy.sqrt())
    return torch.stack([(saliency * _blocks(difference[..., 1:-1, :].square())).sum(), saliency.sum()])
