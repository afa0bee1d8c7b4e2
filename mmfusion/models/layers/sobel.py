"""Sobel gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor

_SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sobel(x: Tensor, padding_mode: str = 'zeros') -> tuple[Tensor, Tensor]:
    """Compute Sobel gradients of N×C×H×W, ∂x (along the width) and ∂y.

    The taps are 1, 2, 1; ``padding_mode`` is ``'zeros'``, or one of :func:`torch.nn.functional.pad` such as ``'replicate'``.
    """
    n, c, h, w = x.shape
    kernel = x.new_tensor(_SOBEL_X)
    kernel = torch.stack([kernel, kernel.t()])[:, None]
    x = x.reshape(n * c, 1, h, w)
    if padding_mode != 'zeros':
        x = F.pad(x, (1, 1, 1, 1), mode=padding_mode)
    grad = F.conv2d(x, kernel, padding=1 if padding_mode == 'zeros' else 0).view(n, c, 2, h, w)
    return grad[:, :, 0], grad[:, :, 1]


def sobel_magnitude(x: Tensor, norm: int = 1, padding_mode: str = 'zeros') -> Tensor:
    """Compute |∇x| of each channel of N×C×H×W by :func:`sobel`.

    ``norm`` is 1 for |∂x| + |∂y|, 2 for √(∂x² + ∂y²) by :func:`length`.

    Raises:
        ValueError: If the norm is neither 1 nor 2.
    """
    dx, dy = sobel(x, padding_mode)
    if norm == 1:
        return dx.abs() + dy.abs()
    if norm == 2:
        return length(dx, dy)
    raise ValueError(f'norm must be 1 or 2, got {norm!r}')


def length(dx: Tensor, dy: Tensor) -> Tensor:
    """Compute √(dx² + dy²), whose gradient is 0 where both are.

    ``torch.linalg.vector_norm`` over a dimension of two takes many times as long on a CPU.
    """
    square = dx.square() + dy.square()
    positive = square > 0
    return torch.where(positive, square, 1).sqrt() * positive
