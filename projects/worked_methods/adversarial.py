"""A generator against two discriminators, one for each source (as DDcGAN and TarDAL train)."""

import torch
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class GeneratorNet(nn.Module):
    """Fuse by two convolutions."""

    def __init__(self, channels=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, channels, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(channels, 1, 3, padding=1), nn.Tanh()
        )

    def forward(self, vi, ir):
        return self.layers(torch.cat([vi, ir], dim=1))
