"""Distances between feature maps: contextual space and Euclidean space (OCCO eq. 9-12, section 3.3)."""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from mmfusion.models.layers import at_least_float32

_EPS = 1e-5  # of the public code


def _points(x):
    """N×C×h×w → N×(hw)×C."""
    return x.flatten(2).transpose(1, 2)


def _similarity(distance, relative):
    """CX of each row: exp(1 − d̃), normalised, d̃ perhaps relative."""
    if relative:
        distance = distance / (distance.amin(-1, keepdim=True) + _EPS)
    return (1 - distance).softmax(-1)


def _squared(a, b):
    """Squared distances of points: N×P×C, N×Q×C → N×P×Q."""
    squared = a.square().sum(-1, keepdim=True) - 2 * (a @ b.transpose(1, 2)) + b.square().sum(-1)[:, None]
    return squared.clamp_min(0)


def _row_maxima(x, y, rows, mean, omega3, relative):
    """max_j of the mixed similarity in some rows; N×P×C twice → N×rows."""
    similarity = 0.0
    if omega3 < 1:
        xc, yc = F.normalize(x[:, rows] - mean, dim=-1), F.normalize(y - mean, dim=-1)
        similarity = (1 - omega3) * _similarity(1 - xc @ yc.transpose(1, 2), relative)
    if omega3 > 0:
        similarity = similarity + omega3 * _similarity(_squared(y[:, rows], x), relative)
    return similarity.amax(-1)


def _mean_maxima(x, y, mean, omega3, relative, chunk):
    """Mean of :func:`_row_maxima` over points, in chunks, recomputed backward."""
    points = x.shape[1]
    if points <= chunk:
        return _row_maxima(x, y, slice(None), mean, omega3, relative).mean(1)
    total = 0.0
    for start in range(0, points, chunk):
        args = (x, y, slice(start, start + chunk), mean, omega3, relative)
        moving = x.requires_grad or y.requires_grad
        rows = checkpoint(_row_maxima, *args, use_reentrant=False) if moving else _row_maxima(*args)
        total = total + rows.sum(1)
    return total / points


def _sample(x, y, max_points):
    """Random points of both maps, the same, at most ``max_points``."""
    points = x.shape[1]
    if max_points is None or points <= max_points:
        return x, y
    index = torch.randperm(points, device=x.device)[:max_points]
    return x[:, index], y[:, index]


def contextual_distance(x, y, variant='official', omega3=0.5, groups=1, chunk=512, max_points=None):
    """Contextual distance CS of two feature maps.

    ``'official'`` (public code of OCCO)::

        CS = mean_images −log(mean_i max_j((1 − ω3) CX^cos_ij + ω3 CX^l2_ij) + 1e-5)

    with CX_ij = softmax_j(1 − d_ij / (min_j d_ij + 1e-5)); d^cos_ij is the cosine distance of x_i and y_j after the shift
    by y's mean over images and positions. d^l2_ij is the squared Euclidean distance of y_i and x_j: the public code has
    its rows and columns swapped against d^cos, and its published numbers come out in that way only.

    ``'paper'`` (eq. 9-12)::

        CS = mean_images −log((s + ω3 exp(−e)) / (1 + ω3))

    for each pair of maps by itself: s = mean_i max_k softmax_k(1 − S_ik) (eq. 10, 11), S the cosine distance after the
    shift by the mean μ of the points of that one y (eq. 9), e the root mean square of φ1 − φ2. Eq. 12 as printed,
    −log(s + ω3 e), falls as the distance e grows, and is negative once s + ω3 e > 1; this form is never negative, and falls
    as both agree.

    Args:
        x, y (Tensor): (groups·n)×C×h×w. Each group gives one distance.
        variant (str): ``'official'`` or ``'paper'``.
        omega3 (float): ω3.
        groups (int): How many independent distances the batch holds, one after the other.
        chunk (int): Rows of the similarity matrix at a time; larger maps are recomputed in the backward pass.
        max_points (int, optional): Compare at most that many random points.

    Returns:
        Tensor: ``groups`` distances, float32 (float64 for float64).

    Raises:
        ValueError: If the variant is unknown.
    """
    _check_variant(variant)
    x, y = _points(at_least_float32(x)), _points(at_least_float32(y))
    official = variant == 'official'
    if official:
        mean = y.unflatten(0, (groups, -1)).mean((1, 2)).repeat_interleave(x.shape[0] // groups, 0)[:, None]
    else:
        mean = y.mean(1, keepdim=True)
        rms = _root((x - y).square().flatten(1).mean(1))
    x, y = _sample(x, y, max_points)
    best = _mean_maxima(x, y, mean, omega3 if official else 0.0, official, chunk)
    distance = -(best + _EPS).log() if official else -((best + omega3 * (-rms).exp()) / (1 + omega3)).log()
    return distance.unflatten(0, (groups, -1)).mean(1)


def euclidean_distance(x, y, variant='official', groups=1):
    """Euclidean distance of two feature maps.

    Args:
        x, y (Tensor): (groups·n)×C×h×w.
        variant (str): ``'official'``: the mean squared difference. ``'paper'``: its root, e of eq. 12 and 14 but for the
            map's size, of each pair of maps by itself; their mean.
        groups (int): How many independent distances the batch holds, one after the other.

    Returns:
        Tensor: ``groups`` distances, float32 (float64 for float64).

    Raises:
        ValueError: If the variant is unknown.
    """
    _check_variant(variant)
    squared = (at_least_float32(x) - at_least_float32(y)).square().flatten(1).mean(1)
    distance = squared if variant == 'official' else _root(squared)
    return distance.unflatten(0, (groups, -1)).mean(1)


def _root(squared):
    """Square root whose gradient at 0 is finite."""
    return (squared + 1e-12).sqrt()


def _check_variant(variant):
    if variant not in ('official', 'paper'):
        raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
