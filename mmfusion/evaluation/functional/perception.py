"""Metrics of human perception.

All take N×1×H×W images (0–255; ``data_range=1`` for 0–1) and return one float64 value per image.
"""

import math

import torch
import torch.nn.functional as F

from .checks import each, image_mean, image_sum, prepare, ratio
from .filters import filter_same, filter_valid, gaussian_window, sobel

VIF_MIN_SIZE = 41
"""The smallest side for which each of VIF's four scales has a whole window."""


def _vif_terms(ref, dist, sigma_noise, eps=1e-10):
    """The numerators and denominators of one source at one scale, from the local moments ``(mu, var)`` and covariance."""
    (var_ref, var_dist), cov = (ref, dist[0]), dist[1]
    gain = cov / (var_ref + eps)
    noise = var_dist - gain * cov
    flat_ref, flat_dist = var_ref < eps, var_dist < eps
    gain = gain.masked_fill(flat_ref | flat_dist, 0)
    noise = torch.where(flat_ref, var_dist, noise).masked_fill(flat_dist, 0)
    var_ref = var_ref.masked_fill(flat_ref, 0)
    noise = torch.where(gain < 0, var_dist, noise).clamp(min=eps)
    gain = gain.clamp(min=0)
    kept = torch.log2(1 + gain * gain * var_ref / (noise + sigma_noise))
    return image_sum(kept), image_sum(torch.log2(1 + var_ref / sigma_noise))


def visual_information_fidelity(fused, ir, vi, *, protocol='tang', data_range=255.0, sigma_noise=2.0):
    """VIF: the share of a source's visual information that is kept, pixel domain, four scales.

    Per source, with local Gaussian statistics (windows 17, 9, 5, 3), the gain ``g = σ_SF / σ_S²`` and the residual
    ``σ_V² = σ_F² − g σ_SF``: ``Σ log(1 + g² σ_S² / (σ_V² + 2)) / Σ log(1 + σ_S² / 2)`` over all pixels and scales.

    - ``'tang'``: the sum over both sources, as the public code has it (range about [0, 2]).
    - ``'vifb'``: their mean, the other public convention (the benchmark itself publishes no VIF).

    Higher is better (above 1 per source means enhanced contrast); NaN where a source is constant.

    H. R. Sheikh, A. C. Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15(2), 2006;
    pixel-domain form ``vifp_mscale``.

    Args:
        fused, ir, vi (Tensor): N×1×H×W, 41 pixels or more each way.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.
        sigma_noise (float): Variance of the visual noise.

    Returns:
        Tensor: N values.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=VIF_MIN_SIZE)
    total = each(lambda *row: _vif_sum(*row, sigma_noise), images)
    return total if protocol == 'tang' else total / 2


def _vif_sum(fused, ir, vi, sigma_noise):
    kept, whole = [0, 0], [0, 0]
    for size in (17, 9, 5, 3):
        taps = gaussian_window(size, size / 5)
        if size != 17:
            fused, ir, vi = (filter_valid(x, taps)[..., ::2, ::2] for x in (fused, ir, vi))
        mu_f = filter_valid(fused, taps)
        var_f = (filter_valid(fused * fused, taps) - mu_f * mu_f).clamp_(min=0)
        for i, source in enumerate((ir, vi)):
            mu_s = filter_valid(source, taps)
            var_s = (filter_valid(source * source, taps) - mu_s * mu_s).clamp_(min=0)
            cov = filter_valid(source * fused, taps) - mu_s * mu_f
            num, den = _vif_terms(var_s, (var_f, cov), sigma_noise)
            kept[i], whole[i] = kept[i] + num, whole[i] + den
    return ratio(kept[0], whole[0]) + ratio(kept[1], whole[1])


def _stretch(x):
    """Z. Liu's ``normalize1``: darkest to 0, brightest to 255, rounded; NaN for a constant image that is not black."""
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    # Halves go up, as MATLAB rounds; torch.round takes them to the even neighbour.
    return torch.where(high == 0, x, (((x - low) / (high - low)) * 255 + 0.5).floor())


def _radius(height, width, scale_y, scale_x, x):
    """Radial frequency of each bin of ``rfft2``, MATLAB's ``freqspace`` (−1…1) times the given scales."""
    v = torch.fft.fftfreq(height, dtype=x.dtype, device=x.device) * 2 * scale_y
    u = torch.fft.rfftfreq(width, dtype=x.dtype, device=x.device) * 2 * scale_x
    return torch.hypot(v[:, None], u)


def _filter_spectrum(x, response):
    return torch.fft.irfft2(torch.fft.rfft2(x) * response, s=x.shape[-2:])


def qcb(fused, ir, vi, *, data_range=255.0):
    """Qcb: Chen and Blum's metric, how well the contrast that an eye sees is preserved.

    Images are stretched to 0–255, filtered by a contrast sensitivity ``S(r) = e^(−(r/15.387)²) − 0.7622
    e^(−(r/1.3456)²)``, and turned to masked contrast ``C′ = C³ / (C² + 10⁻⁴)`` with ``C = |G₂ ∗ I / G₄ ∗ I − 1|``
    (Gaussians of σ = 2, 4 on 31×31). Per pixel ``Q_S = min(C′_S, C′_F) / max(C′_S, C′_F)``, weighted over the sources
    by ``C′_S²``; averaged. Range [0, 1], higher is better; NaN where an image is constant and not black.

    Y. Chen, R. S. Blum, "A new automated quality assessment algorithm for image fusion", Image and Vision Computing
    27, 2009, as Z. Liu's toolbox and VIFB compute it. The same in both protocols.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    return each(_qcb_one, [_stretch(x) for x in prepare(fused, ir, vi, data_range=data_range)])


def _masked_contrast(x, response, narrow, wide):
    x = _filter_spectrum(x, response)
    contrast = (filter_same(x, narrow) / filter_same(x, wide)).sub_(1).abs_()
    square = contrast * contrast
    return contrast.mul_(square).div_(square.add_(1e-4))


def _qcb_one(*images):
    height, width = images[0].shape[-2:]
    r2 = _radius(height, width, height / 30, width / 30, images[0]).square_()
    response = torch.exp(-r2 / 15.3870**2) - 0.7622 * torch.exp(-r2 / 1.3456**2)
    # Unnormalised windows: 1/(2πσ²) over 31 pixels, as the public code has them.
    x = torch.arange(-15, 16, dtype=torch.float64)
    windows = [torch.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) for sigma in (2, 4)]
    c_f, c_a, c_b = (_masked_contrast(image, response, *windows) for image in images)
    kept, weights = [], []
    for c in (c_a, c_b):
        # No contrast in either image is contrast preserved.
        kept.append(torch.where((c == 0) & (c_f == 0), 1, torch.minimum(c, c_f) / torch.maximum(c, c_f)))
        weights.append(c * c)
    total = weights[0] + weights[1]
    share = torch.where(total == 0, 0.5, weights[0] / total)
    return image_mean(share * kept[0] + (1 - share) * kept[1])


def qcv(fused, ir, vi, *, data_range=255.0):
    """Qcv: Chen and Varshney's metric, the visible error in regions weighted by their saliency.

    Images are stretched to 0–255. In blocks of 16×16 (the last ones filled up with zeros) the saliency of a source is
    ``Σ g⁵`` of its Sobel strength, and the error the mean square of ``S − F`` filtered by Mannos and Sakrison's contrast
    sensitivity ``2.6 (0.0192 + 0.144 r) e^(−(0.144 r)^1.1)``; ``Qcv = Σ saliency · error / Σ saliency`` over blocks and
    sources. Range [0, ∞), lower is better; NaN where an image is constant and not black, or both sources are.

    H. Chen, P. K. Varshney, "A human perception inspired quality metric for image fusion based on regional
    information", Information Fusion 8(2), 2007, as Z. Liu's toolbox and VIFB compute it. The same in both protocols.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    return each(_qcv_one, [_stretch(x) for x in prepare(fused, ir, vi, data_range=data_range)])


def _blocks(x):
    """Mean of each 16×16 block, zeros beyond the border."""
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, -width % 16, 0, -height % 16)), 16)


def _qcv_one(fused, ir, vi):
    height, width = fused.shape[-2:]
    r = _radius(height, width, height / 8, width / 8, fused).mul_(0.144)
    response = 2.6 * (0.0192 + r) * torch.exp(-(r**1.1))
    error, weight = 0, 0
    for source in (ir, vi):
        gx, gy = sobel(F.pad(source, (1, 1, 1, 1)))
        energy = gx.square_().add_(gy.square_())
        saliency = _blocks(energy * energy * energy.sqrt())
        difference = _blocks(_filter_spectrum(source - fused, response).square_())
        error, weight = error + image_sum(saliency * difference), weight + image_sum(saliency)
    return ratio(error, weight)
