"""Information metrics: what the images' grey levels say of each other.

All take ``fused``, ``ir`` and ``vi``, N×1×H×W each (uint8; floating point with ``data_range=255`` or ``data_range=1``), or
``fused`` alone, and return N float64 values. ``protocol`` says which public code is followed where they differ; ``shared``
holds what several metrics have in common, see :func:`~mmfusion.evaluation.functional.memo.each`.
The images are rounded to the 256 levels of a written file.
"""

import math

import torch
from torch import Tensor

from .checks import prepare, ratio
from .memo import Shared, each
from .strips import strip_sums

LEVELS = 256


def _levels(image: Tensor) -> Tensor:
    """An image in 0–255 → its int64 levels, pixel after pixel."""
    return image.round().clamp_(0, LEVELS - 1).long().flatten()


def _histogram(shared: Shared, image: Tensor) -> Tensor:
    """Relative frequencies of the levels of one image, 256 float64."""
    counts = strip_sums(lambda x: torch.bincount(_levels(x), minlength=LEVELS), [image])
    return counts.double() / image.numel()


def _joint(shared: Shared, a: Tensor, b: Tensor) -> Tensor:
    """Relative joint frequencies of two images' levels, 256×256 float64."""

    if a.device.type == 'cpu':
        from .kernels.histograms import joint_counts

        counts = torch.from_numpy(joint_counts(a[0, 0].contiguous().numpy(), b[0, 0].contiguous().numpy(), LEVELS))
    else:
        counts = strip_sums(_joint_counts, [a, b])
    return counts.view(LEVELS, LEVELS).double() / a.numel()


def _joint_counts(a: Tensor, b: Tensor) -> Tensor:
    """How often each pair of levels occurs, by tensor operations."""
    return torch.bincount(torch.add(_levels(b), _levels(a), alpha=LEVELS), minlength=LEVELS**2)


def _entropy_of(probability: Tensor) -> Tensor:
    """Shannon entropy in bits."""
    found = probability[probability > 0]
    return -(found * found.log2()).sum()


def _entropy(shared: Shared, image: Tensor) -> Tensor:
    return _entropy_of(shared(_histogram, image))


def _joint_entropy(shared: Shared, a: Tensor, b: Tensor) -> Tensor:
    return _entropy_of(shared(_joint, a, b))


def _information(shared: Shared, a: Tensor, b: Tensor) -> Tensor:
    """``H(A) + H(B) − H(A, B)`` in bits."""
    return shared(_entropy, a) + shared(_entropy, b) - shared(_joint_entropy, a, b)


def _clean(value: Tensor) -> Tensor:
    """Remove the sign of a zero and rounding noise below it."""
    return torch.where(value.abs() < 1e-12, torch.zeros_like(value), value)


def entropy(fused: Tensor, *, data_range: float | None = None, shared: Shared | None = None) -> Tensor:
    """EN: Shannon entropy of the grey levels.

    ``EN = −Σ p(l) log2 p(l)``; N values in [0, 8] bits, higher is better; 0 for a constant image.

    J. W. Roberts et al., "Assessment of image fusion procedures using entropy, image quality, and multispectral
    classification", J. Appl. Remote Sens. 2, 2008. The same in both protocols (VIFB: mean over the channels).

    Examples:
        >>> entropy(torch.tensor([[[[0, 255], [0, 255]]]], dtype=torch.uint8))
        tensor([1.], dtype=torch.float64)
    """
    images = prepare(fused, data_range=data_range)
    return each(lambda shared, f: _clean(shared(_entropy, f)), images, shared)


def mutual_information(
    fused: Tensor,
    ir: Tensor,
    vi: Tensor,
    *,
    protocol: str = 'tang',
    data_range: float | None = None,
    shared: Shared | None = None,
) -> Tensor:
    """MI: what the fused image tells of both sources.

    ``MI = I(F; IR) + I(F; VI)`` with ``I(A; B) = H(A) + H(B) − H(A, B)``; N values in [0, 16], higher is better; 0 for a
    constant fused image.

    - ``'tang'``: in bits. The public code adds one to 8-bit levels, so that 254 and 255 fall together in the joint
      histogram (and not in the others); this is reproduced, because the published values contain it.
    - ``'vifb'``: in nats, without that saturation.

    G. Qu, D. Zhang, P. Yan, "Information measure for performance of image fusion", Electronics Letters 38(7), 2002.

    Examples:
        >>> a = torch.tensor([[[[0, 100], [0, 100]]]], dtype=torch.uint8)
        >>> mutual_information(a, a, a)
        tensor([2.], dtype=torch.float64)
    """
    images = prepare(fused, ir, vi, data_range=data_range)
    return each(_saturated_information if protocol == 'tang' else _information_in_nats, images, shared)


def _saturated_information(shared: Shared, f: Tensor, a: Tensor, b: Tensor) -> Tensor:
    def information(source: Tensor):
        joint = shared(_joint, f, source).clone()
        joint[-2] += joint[-1]
        joint[:, -2] += joint[:, -1]
        return shared(_entropy, f) + shared(_entropy, source) - _entropy_of(joint[:-1, :-1])

    return _clean(information(a) + information(b))


def _information_in_nats(shared: Shared, f: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _clean((shared(_information, f, a) + shared(_information, f, b)) * math.log(2))


def normalized_mutual_information(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """NMI (Q_MI): mutual information with each source over mean entropies.

    ``NMI = 2 [I(F; IR) / (H(F) + H(IR)) + I(F; VI) / (H(F) + H(VI))]``; N values in [0, 2], higher is better; NaN where the
    fused image and a source are both constant (0 / 0).

    M. Hossny, S. Nahavandi, D. Creighton, "Comments on 'Information measure for performance of image fusion'",
    Electronics Letters 44(18), 2008. The same in both protocols.
    """
    return each(_nmi_one, prepare(fused, ir, vi, data_range=data_range), shared)


def _nmi_one(shared: Shared, f: Tensor, a: Tensor, b: Tensor) -> Tensor:
    def share(source: Tensor):
        return ratio(_clean(shared(_information, f, source)), _clean(shared(_entropy, f) + shared(_entropy, source)))

    return 2 * (share(a) + share(b))


def cross_entropy(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """CE: how far the fused image's histogram lies from the sources'.

    ``CE = [D(VI‖F) + D(IR‖F)] / 2`` with ``D(S‖F) = Σ p_S log2(p_S / p_F)`` over the levels that both images have (so
    it is no true divergence, and may be negative); N values, lower is better; 0 for images without a common level.

    D. M. Bulanon, T. Burks, V. Alchanatis, "Image fusion of visible and thermal images for fruit detection",
    Biosystems Engineering 103(1), 2009, as VIFB computes it. The public ``tang`` code has no cross entropy; under that
    protocol the same formula runs on the grey images.
    """
    return each(_cross_entropy_one, prepare(fused, ir, vi, data_range=data_range), shared)


def _cross_entropy_one(shared: Shared, *images) -> Tensor:
    f, *sources = (shared(_histogram, x) for x in images)
    terms = [torch.where((p > 0) & (f > 0), p * torch.log2(p / f), 0).sum() for p in sources]
    return (terms[0] + terms[1]) / 2


def qncie(
    fused: Tensor, ir: Tensor, vi: Tensor, *, data_range: float | None = None, shared: Shared | None = None
) -> Tensor:
    """QNCIE: nonlinear correlation information entropy of the three images together.

    With ``NCC(A, B) = [H(A) + H(B) − H(A, B)] / 8`` (entropies in bits over log2 256), the eigenvalues ``λ`` of the
    3×3 matrix of the pairwise NCC (ones on the diagonal) give ``QNCIE = 1 + Σ (λ/3) log256(λ/3)``; N values in [0.8, 1],
    higher is better.

    Q. Wang, Y. Shen, J. Jin, "Performance evaluation of image fusion techniques", ch. 19 in T. Stathaki (ed.), Image
    Fusion, 2008; parameters as in Z. Liu's toolbox. The same in both protocols.
    """
    return each(_qncie_one, prepare(fused, ir, vi, data_range=data_range), shared)


def _qncie_one(shared: Shared, f: Tensor, a: Tensor, b: Tensor) -> Tensor:
    matrix = torch.eye(3, dtype=torch.float64, device=f.device)
    for i, j, pair in ((1, 0, (f, a)), (2, 0, (f, b)), (2, 1, (a, b))):
        matrix[i, j] = matrix[j, i] = shared(_information, *pair) / 8
    share = torch.linalg.eigvalsh(matrix) / 3
    # The matrix need not be positive definite for odd images: a negative eigenvalue has no logarithm, zero adds nothing.
    return 1 + torch.where(share == 0, 0, share * torch.log2(share)).sum() / 8


def tsallis_entropy(
    fused: Tensor,
    ir: Tensor,
    vi: Tensor,
    *,
    q: float = 1.85,
    data_range: float | None = None,
    shared: Shared | None = None,
) -> Tensor:
    """TE: mutual information of Tsallis' generalised entropy, summed over the sources.

    ``TE = I_q(F; IR) + I_q(F; VI)`` with ``I_q(A; B) = [1 − Σ p(a, b)^q / (p(a) p(b))^(q−1)] / (1 − q)``; N values in
    [0, ∞), higher is better; 0 for a constant fused image.

    N. Cvejic, C. N. Canagarajah, D. R. Bull, "Image fusion metric based on mutual information and Tsallis entropy",
    Electronics Letters 42(11), 2006, where q = 1.85. Z. Liu's toolbox multiplies each joint frequency with the
    marginals of the *other* image (its ``sum(h)`` is the second image's marginal); here it is the paper's formula.
    The same in both protocols.

    Args:
        q: Tsallis' parameter, not 1.

    Raises:
        ValueError: If ``q`` is 1, where the formula is 0 / 0 (its limit is the mutual information in nats).
    """
    if q == 1:
        raise ValueError('q must not be 1: the limit there is mutual_information(..., protocol="vifb")')
    return each(lambda *args: _tsallis_one(*args, q), prepare(fused, ir, vi, data_range=data_range), shared)


def _tsallis_one(shared: Shared, f: Tensor, a: Tensor, b: Tensor, q: float) -> Tensor:
    def information(source: Tensor):
        joint = shared(_joint, f, source)
        independent = torch.outer(shared(_histogram, f), shared(_histogram, source))
        found = joint > 0
        joint, independent = joint[found], independent[found]
        return (1 - (joint * (joint / independent) ** (q - 1)).sum()) / (1 - q)

    return _clean(information(a) + information(b))
