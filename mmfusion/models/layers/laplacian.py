"""Laplace operator."""

import torch.nn.functional as F
from torch import Tensor


def laplacian(x: Tensor) -> Tensor:
    """Sum each pixel's four neighbours, less four times the pixel, with zeros around the image.

    Args:
        x: N×C×H×W.

    Returns:
        N×C×H×W.
    """
    vertical, horizontal = F.pad(x, (0, 0, 1, 1)), F.pad(x, (1, 1, 0, 0))
    return vertical[:, :, :-2] + vertical[:, :, 2:] + horizontal[..., :-2] + horizontal[..., 2:] - 4 * x
