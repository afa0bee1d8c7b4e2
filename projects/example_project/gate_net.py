"""A fusion network of one's own: it knows two tensors, and nothing of colour, losses or datasets."""

import torch
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class GateNet(nn.Module):
    """Weigh the two images pixel by pixel: fused = g ⊙ vi + (1 − g) ⊙ ir, with a gate g in (0, 1) from three convolutions.

    Args:
        channels (int): Width of the hidden layers.
    """

    def __init__(self, channels=16):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(2, channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, vi, ir):
        """Luminance of the visible image and infrared image, N×1×H×W in [0, 1] each → fused, the same shape and range."""
        gate = torch.sigmoid(self.gate(torch.cat([vi, ir], dim=1)))
        return gate * vi + (1 - gate) * ir
