"""Information metrics: what the grey levels of the images say of each other.

All take N×1×H×W images (0–255; ``data_range=1`` for 0–1), which are rounded to the 256 levels of a written file, and
return one float64 value per image.
"""

import torch

from .checks import prepare, ratio

LEVELS = 256


def _levels(image):
    """N×1×H×W in 0–255 → N×(H·W) int64 levels."""
    return image.round().clamp(0, LEVELS - 1).long().flatten(1)


def _histogram(levels, bins=LEVELS):
    """Relative frequencies, N×bins float64, of N×P integers below ``bins``."""
    count, pixels = levels.shape
    offset = torch.arange(count, device=levels.device)[:, None] * bins
    histogram = torch.bincount((levels + offset).flatten(), minlength=count * bins)
    return histogram.view(count, bins).double() / pixels


def _joint(a, b):
    """Joint frequencies of two images' levels, N×256×256."""
    return _histogram(a * LEVELS + b, LEVELS * LEVELS).view(-1, LEVELS, LEVELS)


def _entropy_of(probability):
    """Shannon entropy in bits of N×… probabilities."""
    p = probability.flatten(1)
    return -torch.xlogy(p, p).sum(1) / torch.log(torch.tensor(2.0, dtype=p.dtype, device=p.device))


def _clean(value):
    """Remove the sign of a zero and rounding noise below it."""
    return torch.where(value.abs() < 1e-12, torch.zeros_like(value), value)


def entropy(fused, *, data_range=255.0):
    """EN: Shannon entropy of the grey levels.

    ``EN = −Σ p(l) log2 p(l)``; range [0, 8] bits, higher is better; 0 for a constant image.

    J. W. Roberts et al., "Assessment of image fusion procedures using entropy, image quality, and multispectral
    classification", J. Appl. Remote Sens. 2, 2008. The same in both protocols (VIFB: mean over the channels).

    Args:
        fused (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Examples:
        >>> entropy(torch.tensor([[[[0, 255], [0, 255]]]]))
        tensor([1.], dtype=torch.float64)
    """
    (fused,) = prepare(fused, data_range=data_range)
    return _clean(_entropy_of(_histogram(_levels(fused))))


def mutual_information(fused, ir, vi, *, protocol='tang', data_range=255.0):
    """MI: what the fused image tells of both sources.

    ``MI = I(F; IR) + I(F; VI)`` with ``I(A; B) = H(A) + H(B) − H(A, B)``; range [0, 16], higher is better; 0 for a
    constant fused image.

    - ``'tang'``: in bits. The public code adds one to 8-bit levels, so that 254 and 255 fall together in the joint
      histogram (and not in the others); this is reproduced, because the published values contain it.
    - ``'vifb'``: in nats, without that saturation.

    G. Qu, D. Zhang, P. Yan, "Information measure for performance of image fusion", Electronics Letters 38(7), 2002.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        protocol (str): ``'tang'`` or ``'vifb'``.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Examples:
        >>> a = torch.tensor([[[[0, 100], [0, 100]]]])
        >>> mutual_information(a, a, a)
        tensor([2.], dtype=torch.float64)
    """
    f, a, b = (_levels(x) for x in prepare(fused, ir, vi, data_range=data_range))
    h_f = _entropy_of(_histogram(f))
    total = 0
    for source in (a, b):
        if protocol == 'tang':
            joint = _joint(f.clamp(max=LEVELS - 2), source.clamp(max=LEVELS - 2))
        else:
            joint = _joint(f, source)
        total = total + h_f + _entropy_of(_histogram(source)) - _entropy_of(joint)
    if protocol != 'tang':
        total = total * torch.log(torch.tensor(2.0, dtype=total.dtype, device=total.device))
    return _clean(total)


def normalized_mutual_information(fused, ir, vi, *, data_range=255.0):
    """NMI (Q_MI): mutual information with each source, over the mean of the two entropies.

    ``NMI = 2 [I(F; IR) / (H(F) + H(IR)) + I(F; VI) / (H(F) + H(VI))]``; range [0, 2], higher is better; NaN where the
    fused image and a source are both constant (0 / 0).

    M. Hossny, S. Nahavandi, D. Creighton, "Comments on 'Information measure for performance of image fusion'",
    Electronics Letters 44(18), 2008. The same in both protocols.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    f, a, b = (_levels(x) for x in prepare(fused, ir, vi, data_range=data_range))
    h_f = _entropy_of(_histogram(f))
    total = 0
    for source in (a, b):
        h_s = _entropy_of(_histogram(source))
        total = total + 2 * ratio(_clean(h_f + h_s - _entropy_of(_joint(f, source))), _clean(h_f + h_s))
    return total


def cross_entropy(fused, ir, vi, *, data_range=255.0):
    """CE: how far the fused image's histogram lies from the sources'.

    ``CE = [D(VI‖F) + D(IR‖F)] / 2`` with ``D(S‖F) = Σ p_S log2(p_S / p_F)`` over the levels that both images have (so
    it is no true divergence, and may be negative); lower is better; 0 for images without a common level.

    D. M. Bulanon, T. Burks, V. Alchanatis, "Image fusion of visible and thermal images for fruit detection",
    Biosystems Engineering 103(1), 2009, as VIFB computes it. The public ``tang`` code has no cross entropy; under that
    protocol the same formula runs on the grey images.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    f, a, b = (_histogram(_levels(x)) for x in prepare(fused, ir, vi, data_range=data_range))
    total = 0
    for source in (a, b):
        both = (source > 0) & (f > 0)
        term = torch.where(both, source * torch.log2(source / f), torch.zeros_like(f))
        total = total + term.sum(1) / 2
    return total


def qncie(fused, ir, vi, *, data_range=255.0):
    """QNCIE: nonlinear correlation information entropy of the three images together.

    With ``NCC(A, B) = [H(A) + H(B) − H(A, B)] / 8`` (entropies in bits over log2 256), the eigenvalues ``λ`` of the
    3×3 matrix of the pairwise NCC (ones on the diagonal) give ``QNCIE = 1 + Σ (λ/3) log256(λ/3)``; range [0.8, 1],
    higher is better.

    Q. Wang, Y. Shen, J. Jin, "Performance evaluation of image fusion techniques", ch. 19 in T. Stathaki (ed.), Image
    Fusion, 2008; parameters as in Z. Liu's toolbox. The same in both protocols.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.
    """
    images = [_levels(x) for x in prepare(fused, ir, vi, data_range=data_range)]
    entropies = [_entropy_of(_histogram(x)) for x in images]
    matrix = torch.eye(3, dtype=torch.float64, device=images[0].device).repeat(len(images[0]), 1, 1)
    for i in range(3):
        for j in range(i):
            ncc = (entropies[i] + entropies[j] - _entropy_of(_joint(images[i], images[j]))) / 8
            matrix[:, i, j] = matrix[:, j, i] = ncc
    # The matrix need not be positive definite for odd images; a negative eigenvalue has no logarithm.
    share = torch.linalg.eigvalsh(matrix) / 3
    return 1 + (share * torch.log2(share)).sum(1) / 8 if (share > 0).all() else _qncie_masked(share)


def _qncie_masked(share):
    term = torch.where(share == 0, torch.zeros_like(share), share * torch.log2(share))
    return 1 + term.sum(1) / 8


def tsallis_entropy(fused, ir, vi, *, q=1.85, data_range=255.0):
    """TE: mutual information of Tsallis' generalised entropy, summed over the sources.

    ``TE = I_q(F; IR) + I_q(F; VI)`` with ``I_q(A; B) = [1 − Σ p(a, b)^q / (p(a) p(b))^(q−1)] / (1 − q)``; non-negative,
    higher is better; 0 for a constant fused image.

    N. Cvejic, C. N. Canagarajah, D. R. Bull, "Image fusion metric based on mutual information and Tsallis entropy",
    Electronics Letters 42(11), 2006, where q = 1.85. Z. Liu's toolbox multiplies each joint frequency with the
    marginals of the *other* image (its ``sum(h)`` is the second image's marginal); here it is the paper's formula.
    The same in both protocols.

    Args:
        fused, ir, vi (Tensor): N×1×H×W.
        q (float): Tsallis' parameter, not 1.
        data_range (float): 255 or 1.

    Returns:
        Tensor: N values.

    Raises:
        ValueError: ``q`` is 1, where the formula is 0 / 0 (its limit is the mutual information in nats).
    """
    if q == 1:
        raise ValueError('q must not be 1: the limit there is mutual_information(..., protocol="vifb")')
    f, a, b = (_levels(x) for x in prepare(fused, ir, vi, data_range=data_range))
    p_f = _histogram(f)
    total = 0
    for source in (a, b):
        joint = _joint(source, f)
        independent = _histogram(source)[:, :, None] * p_f[:, None, :]
        term = joint**q / torch.where(joint > 0, independent, torch.ones_like(joint)) ** (q - 1)
        total = total + (1 - term.flatten(1).sum(1)) / (1 - q)
    return _clean(total)
