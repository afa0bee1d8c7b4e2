"""A network from colours to colours, guided by a text per sample (as Text-IF is)."""

import torch
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class TextGuidedNet(nn.Module):
    """Fuse R, G, B and infrared; the text's features scale the channels."""

    def __init__(self, text_channels, channels=8):
        super().__init__()
        self.encoder = nn.Conv2d(4, channels, 3, padding=1)
        self.scale = nn.Linear(text_channels, channels)
        self.decoder = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, vi_rgb, ir, clip_text):
        features = self.encoder(torch.cat([vi_rgb, ir], dim=1))
        return torch.sigmoid(self.decoder(features * self.scale(clip_text)[:, :, None, None]))
