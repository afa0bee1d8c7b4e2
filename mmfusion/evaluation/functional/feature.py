"""Image feature metrics: contrast, gradients, and the sources' edges kept.

All take ``fused``, ``ir`` and ``vi``, N×1×H×W each (uint8; floating point with ``data_range=255`` or ``data_range=1``), or
``fused`` alone, and return N float64 values. ``protocol`` says which public code is followed where they differ; ``shared``
holds what several metrics have in common, see :func:`~mmfusion.evaluation.functional.memo.each`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import indicator, prepare, ratio
from .filters import sobel
from .memo import Shared, each
from .strips import strip_sums


def spatial_frequency(fused: Tensor, *, protocol: str = 'tang', data_range: float | None = None) -> Tensor:
    """SF: root mean square of the differences between neighbours.

    ``SF = √(RF² + CF²)``, N values in grey levels (0–255), higher is better; 0 for a constant image.

    - ``'tang'``: RF² and CF² are means over the existing differences. (Values published before the public code was
      changed are on the 0–1 scale: divide by 255.)
    - ``'vifb'``: both sums are divided by all H·W pixels.

    A. M. Eskicioglu, P. S. Fisher, "Image quality measures and their performance", IEEE Trans. Communications 43(12),
    1995.

    Args:
        fused: N×1×H×W, two pixels or more each way.

    Examples:
        >>> spatial_frequency(torch.tensor([[[[0., 3.], [4., 7.]]]]), data_range=255)
        tensor([5.], dtype=torch.float64)
    """
    images = prepare(fused, data_range=data_range, min_size=2)
    height, width = fused.shape[-2:]
    pixels = height * width
    counts = (pixels - width, pixels - height) if protocol == 'tang' else (pixels, pixels)

    def one(_: Shared, x: Tensor):
        down = strip_sums(lambda strip: strip.diff(dim=-2).square_().sum(), [x], 1)
        across = strip_sums(lambda strip: strip.diff(dim=-1).square_().sum(), [x])
        return (down / counts[0] + across / counts[1]).sqrt()

    return each(one, images)


def average_gradient(fused: Tensor, *, data_range: float | None = None) -> Tensor:
    """AG: mean strength of the gradient.

    ``AG = Σ √((∂x² + ∂y²) / 2) / ((H − 1)(W − 1))`` with central differences inside and one-sided ones at the border
    (the sum has H·W terms: so divide both public codes); N values in grey levels, higher is better; 0 for a constant image.

    G. Cui et al., "Detail preserved fusion of visible and infrared images using regional saliency extraction and
    multi-scale image decomposition", Optics Communications 341, 2015. The same in both protocols (VIFB: mean over the
    channels).

    Args:
        fused: N×1×H×W, two pixels or more each way.
    """
    images = prepare(fused, data_range=data_range, min_size=2)
    count = (fused.shape[-2] - 1) * (fused.shape[-1] - 1)
    return each(lambda _, x: strip_sums(_gradient_sum, [_extrapolated(x)], 2) / count, images)


def _extrapolated(x: Tensor) -> Tensor:
    """One pixel more on each side, on a straight line.

    Central differences there are the image's one-sided ones.
    """
    x = F.pad(x, (1, 1, 1, 1), mode='replicate')
    for dim in (-2, -1):
        for border, inner in ((0, 2), (-1, -3)):
            x.select(dim, border).mul_(2).sub_(x.select(dim, inner))
    return x


def _gradient_sum(x: Tensor) -> Tensor:
    dy = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    dx = x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    return dy.square_().add_(dx.square_()).div_(8).sqrt_().sum()


def standard_deviation(fused: Tensor, *, data_range: float | None = None) -> Tensor:
    """SD: population standard deviation of the grey levels over all pixels.

    ``SD = √(Σ (F − mean F)² / (H·W))``, in grey levels; N values in [0, 127.5], higher is better; 0 for a constant image.

    Y.-J. Rao, "In-fibre Bragg grating sensors", Meas. Sci. Technol. 8, 1997. The same in both protocols.

    Examples:
        >>> standard_deviation(torch.tensor([[[[0., 10.]]]]), data_range=255)
        tensor([5.], dtype=torch.float64)
    """
    return each(_variance, prepare(fused, data_range=data_range)).sqrt()


def variance(fused: Tensor, *, protocol: str = 'tang', data_range: float | None = None) -> Tensor:
    """Variance of the grey levels.

    - ``'tang'``: ``Σ (F − mean F)² / (H·W)``, the textbook's (the public code has none).
    - ``'vifb'``: its *square root*, which that benchmark publishes under this name.

    N values in [0, 127.5²] and [0, 127.5]; higher is better; 0 for a constant image.

    Y.-J. Rao, "In-fibre Bragg grating sensors", Meas. Sci. Technol. 8, 1997 (VIFB's reference).
    """
    found = each(_variance, prepare(fused, data_range=data_range))
    return found if protocol == 'tang' else found.sqrt()


def _variance(_: Shared, x: Tensor) -> Tensor:
    mean = x.mean()
    return strip_sums(lambda strip: (strip - mean).square_().sum(), [x]) / x.numel()


def edge_intensity(fused: Tensor, *, data_range: float | None = None) -> Tensor:
    """EI: mean strength of the Sobel gradient, borders replicated.

    ``EI = mean √(Sx² + Sy²)``, Sobel with weights 1, 2, 1; N values in grey levels, higher is better; 0 for a constant
    image.

    B. Rajalingam, R. Priya, "Hybrid multimodality medical image fusion technique for feature enhancement in medical
    diagnosis", 2018. The same in both protocols (VIFB: mean over the channels).
    """

    def one(_: Shared, x: Tensor):
        return strip_sums(_sobel_sum, [F.pad(x, (1, 1, 1, 1), mode='replicate')], 2) / x.numel()

    return each(one, prepare(fused, data_range=data_range))


def _sobel_sum(padded: Tensor) -> Tensor:
    gx, gy = sobel(padded)
    return gx.square_().add_(gy.square_()).sqrt_().sum()


def _strength_and_angle(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient strength and orientation as Q_ABF wants them, zeros around."""
    # MATLAB's conv2 turns the kernel round: both responses change their sign, and the orientation does not.
    sx, sy = sobel(padded)
    # No response across is +π/2, whatever the sign of the other and also where it is zero (0 / 0).
    angle = torch.atan(sy.neg().div_(sx).nan_to_num_(nan=torch.inf, posinf=torch.inf, neginf=torch.inf))
    return sx.square_().add_(sy.square_()).sqrt_(), angle


def _inverse_sigmoid(x: Tensor, slope: float, centre: float) -> Tensor:
    """``1 + e^(−slope (x − centre))``, in the memory of ``x``."""
    return x.sub_(centre).mul_(-slope).exp_().add_(1)


def qabf(fused: Tensor, ir: Tensor, vi: Tensor, *, protocol: str = 'tang', data_range: float | None = None) -> Tensor:
    """Qabf: the sources' edges kept in the fused image, strength and orientation.

    Per source S, with Sobel strength g and orientation a: ``G = min(g_S, g_F) / max(g_S, g_F)``,
    ``A = 1 − |a_S − a_F| / (π/2)``, ``Q = 0.9994 / (1 + e^(−15 (G − 0.5))) · 0.9879 / (1 + e^(−22 (A − 0.8)))``, and
    ``Qabf = Σ (Q_IR g_IR + Q_VI g_VI) / Σ (g_IR + g_VI)``; N values in [0, 1), higher is better; NaN where both sources are
    constant.

    Two properties of the public codes are kept: orientations are not wrapped (edges at +90° and −90° count as
    opposite), and where both strengths are equal G is the strength itself instead of 1: in grey levels for ``'tang'``,
    255 times that for ``'vifb'``. (Older values of the ``tang`` code were made from images in [0, 1], where this
    mattered.)

    C. S. Xydeas, V. Petrović, "Objective image fusion performance measure", Electronics Letters 36(4), 2000.
    """
    equal = 255 if protocol == 'vifb' else 1
    images = prepare(fused, ir, vi, data_range=data_range)
    return each(lambda _, *row: _qabf_one(row, equal), images)


def _qabf_one(images: Sequence[Tensor], equal: float) -> Tensor:
    padded = [F.pad(x, (1, 1, 1, 1)) for x in images]
    kept, whole = strip_sums(lambda *strips: _qabf_sums(strips, equal), padded, 2)
    return ratio(kept, whole)


def _qabf_sums(padded: Sequence[Tensor], equal: float) -> Tensor:
    (g_f, a_f), *sources = (_strength_and_angle(x) for x in padded)
    kept, whole = 0, 0
    for g_s, a_s in sources:
        strength = torch.minimum(g_s, g_f).div_(torch.maximum(g_s, g_f)).nan_to_num_(nan=0.0)
        strength.addcmul_(indicator(torch.eq, g_s, g_f), (g_f * equal).sub_(strength))
        orientation = a_s.sub_(a_f).abs_().div_(-torch.pi / 2).add_(1)
        loss = _inverse_sigmoid(strength, 15, 0.5).mul_(_inverse_sigmoid(orientation, 22, 0.8))
        kept, whole = kept + 0.9994 * 0.9879 * torch.div(g_s, loss, out=loss).sum(), whole + g_s.sum()
    return torch.stack([kept, whole])


def _edges(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Edges' strength and orientation after Petrović: Sobel over 8."""
    across, down = sobel(padded)
    # 0 / 0 is an orientation of 0.
    angle = torch.atan(across / down).nan_to_num_(nan=0.0)
    return down.square_().add_(across.square_()).sqrt_().div_(8), angle


def _preservation(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """How alike two images' edges are, pixel by pixel; symmetric."""
    (g_1, a_1), (g_2, a_2) = one, other
    # 0 / 0 where both are flat.
    strength = torch.minimum(g_1, g_2).div_(torch.maximum(g_1, g_2)).nan_to_num_(nan=0.0)
    orientation = (a_1 - a_2).abs_().sub_(torch.pi / 2).abs_().mul_(2 / torch.pi)
    square = _inverse_sigmoid(strength, 19, 0.5).mul_(_inverse_sigmoid(orientation, 22, 0.5))
    return square.rsqrt_().mul_(math.sqrt(0.9999 * 0.9995))


def _edge_weights(strength: Tensor) -> Tensor:
    return (strength * strength.sqrt()).sub_(0.001).mul_(indicator(torch.ge, strength, 2)).add_(0.001)


class _EdgeSums(NamedTuple):
    """Weighted edges of two images, and what a third one kept.

    The sources' edges are kept, or else lost where a source's edge is the stronger one, or else count as artefacts.
    """

    artefacts: torch.Tensor
    loss: torch.Tensor
    whole: torch.Tensor


def _petrovic(_: Shared, fused: Tensor, ir: Tensor, vi: Tensor) -> tuple[_EdgeSums, _EdgeSums]:
    """Petrović's sums of one image; and in ``'tang'``'s order."""
    padded = [F.pad(x, (1, 1, 1, 1), mode='reflect') for x in (fused, ir, vi)]
    sums = strip_sums(_petrovic_sums, padded, 2)
    return _EdgeSums(*sums[:3]), _EdgeSums(*sums[3:])


def _petrovic_sums(*padded):
    f, a, b = edges = [_edges(x) for x in padded]
    w_f, w_a, w_b = (_edge_weights(strength) for strength, _ in edges)
    lost_fa, lost_fb, lost_ab = (_preservation(*pair).neg_().add_(1) for pair in ((f, a), (f, b), (a, b)))
    sums = []
    for one, others, lost, whole in (
        (f, (a, b), (lost_fa * w_a).addcmul_(lost_fb, w_b), w_a + w_b),
        (a, (b, f), (lost_ab * w_b).addcmul_(lost_fa, w_f), w_b + w_f),
    ):
        artefacts = indicator(torch.gt, one[0], torch.maximum(others[0][0], others[1][0])).mul_(lost).sum()
        sums += [artefacts, lost.sum() - artefacts, whole.sum()]
    return torch.stack(sums)


def nabf(
    fused: Tensor,
    ir: Tensor,
    vi: Tensor,
    *,
    protocol: str = 'tang',
    data_range: float | None = None,
    shared: Shared | None = None,
) -> Tensor:
    """Nabf: fusion artefacts, fused edges that neither source has.

    With Petrović's edge preservation ``Q_S = √(0.9999 / (1 + e^(−19 (G − 0.5))) · 0.9995 / (1 + e^(−22 (A − 0.5))))``,
    where G is the ratio of the Sobel strengths g and A the agreement of the orientations, and weights ``w_S = g_S^1.5``
    where ``g_S ≥ 2``, else 0.001:
    ``Nabf = Σ_{g_F > g_IR, g_F > g_VI} [(1 − Q_IR) w_IR + (1 − Q_VI) w_VI] / Σ (w_IR + w_VI)``; N values in [0, 1], lower is
    better; 0 for a constant fused image. :func:`labf` is the same over the other pixels.

    - ``'vifb'``: this definition (the benchmark itself publishes no Nabf).
    - ``'tang'``: what the public code computes today: it hands its images over in the order infrared, visible, fused to
      a function that expects fused, source, source. The value measures the *infrared image's* artefacts against the
      visible and the fused image. It is reproduced, because published tables contain it.

    B. K. Shreyamsha Kumar, "Multifocus and multispectral image fusion based on pixel significance using discrete
    cosine harmonic wavelet transform", SIViP 7, 2013.

    Args:
        fused, ir, vi: N×1×H×W, three pixels or more each way.
    """
    images = prepare(fused, ir, vi, data_range=data_range, min_size=3)
    order = 1 if protocol == 'tang' else 0

    def one(shared: Shared, *row):
        sums = shared(_petrovic, *row)[order]
        return sums.artefacts / sums.whole

    return each(one, images, shared)


def labf(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """Labf: fusion loss, the sources' edges that the fused image lacks.

    As :func:`nabf` (``'vifb'``), summed over the pixels with ``g_F ≤ g_IR`` or ``g_F ≤ g_VI``; N values in [0, 1], lower is
    better. The same in both protocols; neither publishes it.

    V. Petrović, C. Xydeas, "Objective image fusion performance characterisation", ICCV 2005.

    Args:
        fused, ir, vi: N×1×H×W, three pixels or more each way.
    """

    def one(shared: Shared, *row):
        sums, _ = shared(_petrovic, *row)
        return sums.loss / sums.whole

    return each(one, prepare(fused, ir, vi, data_range=data_range, min_size=3), shared)
