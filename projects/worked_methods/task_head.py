"""A network with a segmentation head of its own, scored by mmseg's stock metric (as PSFusion and MRFS have)."""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class TaskHeadNet(nn.Module):
    """Fuse, and segment from the same features."""

    def __init__(self, num_classes, channels=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, channels, 3, padding=1), nn.ReLU())
        self.fuse = nn.Conv2d(channels, 1, 3, padding=1)
        self.segment = nn.Conv2d(channels, num_classes, 3, stride=2, padding=1)

    def forward(self, vi, ir):
        features = self.encoder(torch.cat([vi, ir], dim=1))
        return dict(fused=torch.sigmoid(self.fuse(features)), seg_logits=self.segment(features))


@MODELS.register_module()
class SegmentationLoss(nn.Module):
    """Cross entropy of the head's logits; 255 is ignored."""

    def forward(self, seg_logits, labels):
        logits = F.interpolate(seg_logits, labels.shape[1:], mode='bilinear')
        return F.cross_entropy(logits, labels, ignore_index=255)
