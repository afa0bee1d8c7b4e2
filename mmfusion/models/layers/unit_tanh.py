"""Tanh as the last layer of a fusion network."""

import torch
from torch import Tensor, nn

from .precision import at_least_float32


class UnitTanh(nn.Module):
    """(tanh x + 1) / 2: Tanh's [−1, 1] mapped to the [0, 1] of all images here.

    Half precision comes out as float32: close to 1 it would be rounded to whole grey levels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same in [0, 1]."""
        return (torch.tanh(at_least_float32(x)) + 1) / 2
