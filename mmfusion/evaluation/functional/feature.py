"""Image feature metrics: contrast, gradients, and how much of the sources' edges arrives in the fused image.

All take N×1×H×W images (0–255; ``data_range=1`` for 0–1) and return one float64 value per image.
"""

import torch
import torch.nn.functional as F

from .checks import each, image_mean, image_sum, prepare, ratio
from .filters import sobel


def spatial_frequency(fused, *, protocol='tang', data_range=255.0):
    """SF: root mean square of the differences between neighbours.

    ``SF = √(RF² + CF²)``, in grey levels (0–255); higher is better; 0 for a constant image.

    - ``'tang'``: RF² and CF² are means over the existing differences. (Values published before the public code was
      changed are on the 0–1 scale: divide by 255.)
    - ``'vifb'``: both sums are divided by all H·W pixels.

    A. M. Eskicioglu, P. S. Fisher, "Image quality measures and their performance", IEEE Trans. Communications 43(12),
    1995.

    Args:
        fused (Tensor): N×1×H×W, two pixels or more each way.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Examples:
        >>> spatial_frequency(torch.tensor([[[[0., 3.], [4., 7.]]]]))
        tensor([5.], dtype=torch.float64)
    """
    (x,) = prepare(fused, data_range=data_range, min_size=2)
    rows, columns = x.diff(dim=-2).square_(), x.diff(dim=-1).square_()
    if protocol == 'tang':
        return (image_mean(rows) + image_mean(columns)).sqrt()
    return ((image_sum(rows) + image_sum(columns)) / (x.shape[-1] * x.shape[-2])).sqrt()


def average_gradient(fused, *, data_range=255.0):
    """AG: mean strength of the gradient.

    ``AG = Σ √((∂x² + ∂y²) / 2) / ((H − 1)(W − 1))`` with central differences inside and one-sided ones at the border
    (the sum has H·W terms: so divide both public codes), in grey levels; higher is better; 0 for a constant image.

    G. Cui et al., "Detail preserved fusion of visible and infrared images using regional saliency extraction and
    multi-scale image decomposition", Optics Communications 341, 2015. The same in both protocols (VIFB: mean over the
    channels).

    Args:
        fused (Tensor): N×1×H×W, two pixels or more each way.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    (x,) = prepare(fused, data_range=data_range, min_size=2)
    dy, dx = torch.gradient(x, dim=(-2, -1))
    strength = dy.square_().add_(dx.square_()).div_(2).sqrt_()
    return image_sum(strength) / ((x.shape[-2] - 1) * (x.shape[-1] - 1))


def standard_deviation(fused, *, data_range=255.0):
    """SD: standard deviation of the grey levels over all pixels (population, not sample).

    ``SD = √(Σ (F − mean F)² / (H·W))``, in grey levels; range [0, 127.5], higher is better; 0 for a constant image.

    Y.-J. Rao, "In-fibre Bragg grating sensors", Meas. Sci. Technol. 8, 1997. The same in both protocols.

    Args:
        fused (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Examples:
        >>> standard_deviation(torch.tensor([[[[0., 10.]]]]))
        tensor([5.], dtype=torch.float64)
    """
    (x,) = prepare(fused, data_range=data_range)
    return _variance(x).sqrt()


def variance(fused, *, protocol='tang', data_range=255.0):
    """Variance of the grey levels.

    - ``'tang'``: ``Σ (F − mean F)² / (H·W)``, the textbook's (the public code has none).
    - ``'vifb'``: its *square root*, which that benchmark publishes under this name.

    Range [0, 127.5²] and [0, 127.5]; higher is better; 0 for a constant image.

    Y.-J. Rao, "In-fibre Bragg grating sensors", Meas. Sci. Technol. 8, 1997 (VIFB's reference).

    Args:
        fused (Tensor): N×1×H×W.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    (x,) = prepare(fused, data_range=data_range)
    return _variance(x) if protocol == 'tang' else _variance(x).sqrt()


def _variance(x):
    flat = x.flatten(1)
    return (flat - flat.mean(1, keepdim=True)).square_().mean(1)


def edge_intensity(fused, *, data_range=255.0):
    """EI: mean strength of the Sobel gradient, borders replicated.

    ``EI = mean √(Sx² + Sy²)``, Sobel with weights 1, 2, 1, in grey levels; higher is better; 0 for a constant image.

    B. Rajalingam, R. Priya, "Hybrid multimodality medical image fusion technique for feature enhancement in medical
    diagnosis", 2018. The same in both protocols (VIFB: mean over the channels).

    Args:
        fused (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    (x,) = prepare(fused, data_range=data_range)
    gx, gy = sobel(F.pad(x, (1, 1, 1, 1), mode='replicate'))
    return image_mean(gx.square_().add_(gy.square_()).sqrt_())


def _strength_and_angle(x):
    """Gradient strength and orientation in (−π/2, π/2] as Q_ABF wants them, zeros around the image."""
    # MATLAB's conv2 turns the kernel round: both responses change their sign, and the orientation does not.
    sx, sy = sobel(F.pad(x, (1, 1, 1, 1)))
    angle = torch.atan(-sy / sx).masked_fill_(sx == 0, torch.pi / 2)
    return sx.square_().add_(sy.square_()).sqrt_(), angle


def _sigmoid(x, gain, slope, centre):
    return gain / (1 + torch.exp(slope * (x - centre)))


def qabf(fused, ir, vi, *, protocol='tang', data_range=255.0):
    """Qabf: how much of the sources' edges arrives in the fused image, in strength and in orientation.

    Per source S, with Sobel strength g and orientation a: ``G = min(g_S, g_F) / max(g_S, g_F)``,
    ``A = 1 − |a_S − a_F| / (π/2)``, ``Q = 0.9994 / (1 + e^(−15 (G − 0.5))) · 0.9879 / (1 + e^(−22 (A − 0.8)))``, and
    ``Qabf = Σ (Q_IR g_IR + Q_VI g_VI) / Σ (g_IR + g_VI)``; range [0, 1), higher is better; NaN where both sources are
    constant.

    Two properties of the public codes are kept: orientations are not wrapped (edges at +90° and −90° count as
    opposite), and where both strengths are equal G is the strength itself instead of 1: in grey levels for ``'tang'``,
    255 times that for ``'vifb'``. (Older values of the ``tang`` code were made from images in [0, 1], where this
    mattered.)

    C. S. Xydeas, V. Petrović, "Objective image fusion performance measure", Electronics Letters 36(4), 2000.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    equal = 255 if protocol == 'vifb' else 1
    images = prepare(fused, ir, vi, data_range=data_range)
    return each(lambda f, a, b: _qabf_one(f, a, b, equal), images)


def _qabf_one(fused, ir, vi, equal):
    g_f, a_f = _strength_and_angle(fused)
    kept, whole = 0, 0
    for source in (ir, vi):
        g_s, a_s = _strength_and_angle(source)
        strength = torch.minimum(g_s, g_f).div_(torch.maximum(g_s, g_f))
        strength = torch.where(g_s == g_f, equal * g_f, strength)
        orientation = a_s.sub_(a_f).abs_().div_(-torch.pi / 2).add_(1)
        quality = _sigmoid(strength, 0.9994, -15, 0.5).mul_(_sigmoid(orientation, 0.9879, -22, 0.8))
        kept, whole = kept + image_sum(quality.mul_(g_s)), whole + image_sum(g_s)
    return ratio(kept, whole)


def _petrovic(fused, ir, vi):
    """Edge preservation of both sources after Petrović: strengths ``g`` (F, IR, VI), qualities ``q``, weights ``w``.

    Sobel over 8, borders mirrored without repeating the edge pixel.
    """
    strengths, angles = [], []
    for image in (fused, ir, vi):
        across, down = sobel(F.pad(image, (1, 1, 1, 1), mode='reflect'))
        angles.append(torch.atan(across / down).masked_fill_((across == 0) & (down == 0), 0))
        strengths.append(down.square_().add_(across.square_()).sqrt_().div_(8))
    g_f, a_f = strengths[0], angles[0]
    qualities, weights = [], []
    for g_s, a_s in zip(strengths[1:], angles[1:], strict=True):
        strength = torch.minimum(g_s, g_f).div_(torch.maximum(g_s, g_f))
        strength = strength.masked_fill_((g_s == 0) | (g_f == 0), 0)
        orientation = a_s.sub_(a_f).abs_().sub_(torch.pi / 2).abs_().mul_(2 / torch.pi)
        quality = _sigmoid(strength, 0.9999, -19, 0.5).mul_(_sigmoid(orientation, 0.9995, -22, 0.5)).sqrt_()
        qualities.append(quality)
        weights.append(torch.where(g_s >= 2, g_s * g_s.sqrt(), 0.001))
    return strengths, qualities, weights


def _loss_where(mask, qualities, weights):
    lost = sum((1 - q) * w for q, w in zip(qualities, weights, strict=True))
    return image_sum(lost.mul_(mask)) / image_sum(weights[0] + weights[1])


def nabf(fused, ir, vi, *, protocol='tang', data_range=255.0):
    """Nabf: fusion artefacts, the edges of the fused image that neither source has.

    With Petrović's edge preservation ``Q_S = √(0.9999 / (1 + e^(−19 (G − 0.5))) · 0.9995 / (1 + e^(−22 (A − 0.5))))``,
    where G is the ratio of the Sobel strengths g and A the agreement of the orientations, and weights ``w_S = g_S^1.5``
    where ``g_S ≥ 2``, else 0.001:
    ``Nabf = Σ_{g_F > g_IR, g_F > g_VI} [(1 − Q_IR) w_IR + (1 − Q_VI) w_VI] / Σ (w_IR + w_VI)``; range [0, 1], lower is
    better; 0 for a constant fused image. :func:`labf` is the same over the other pixels.

    - ``'vifb'``: this definition (the benchmark itself publishes no Nabf).
    - ``'tang'``: what the public code computes today: it hands its images over in the order infrared, visible, fused to
      a function that expects fused, source, source. The value measures the *infrared image's* artefacts against the
      visible and the fused image. It is reproduced, because published tables contain it.

    B. K. Shreyamsha Kumar, "Multifocus and multispectral image fusion based on pixel significance using discrete
    cosine harmonic wavelet transform", SIViP 7, 2013.

    Args:
        fused, ir, vi (Tensor): N×1×H×W, three pixels or more each way.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    fused, ir, vi = prepare(fused, ir, vi, data_range=data_range, min_size=3)
    return each(_nabf_one, (ir, vi, fused) if protocol == 'tang' else (fused, ir, vi))


def _nabf_one(fused, ir, vi):
    (g_f, g_a, g_b), qualities, weights = _petrovic(fused, ir, vi)
    return _loss_where((g_f > g_a) & (g_f > g_b), qualities, weights)


def labf(fused, ir, vi, *, data_range=255.0):
    """Labf: fusion loss, the sources' edges that the fused image lacks.

    As :func:`nabf` (``'vifb'``), summed over the pixels with ``g_F ≤ g_IR`` or ``g_F ≤ g_VI``; range [0, 1], lower is
    better. The same in both protocols; neither publishes it.

    V. Petrović, C. Xydeas, "Objective image fusion performance characterisation", ICCV 2005.

    Args:
        fused, ir, vi (Tensor): N×1×H×W, three pixels or more each way.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    return each(_labf_one, prepare(fused, ir, vi, data_range=data_range, min_size=3))


def _labf_one(fused, ir, vi):
    (g_f, g_a, g_b), qualities, weights = _petrovic(fused, ir, vi)
    return _loss_where((g_f <= g_a) | (g_f <= g_b), qualities, weights)
