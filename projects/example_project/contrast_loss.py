"""A loss of one's own: it takes what it needs by name (here fused, vi, ir; masks would be mask_vi, mask_ir)."""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class ContrastLoss(nn.Module):
    """mean |σ(f) − max(σ(vi), σ(ir))|, σ the standard deviation in a window around each pixel.

    Args:
        loss_weight (float): Factor on the loss.
        window (int): Side of the window in pixels; odd.
    """

    def __init__(self, loss_weight=1.0, window=7):
        super().__init__()
        self.loss_weight, self.window = loss_weight, window

    def deviation(self, x):
        """Local standard deviation of N×1×H×W."""
        mean, square = (F.avg_pool2d(v, self.window, 1, self.window // 2) for v in (x, x * x))
        return (square - mean * mean).clamp_min(1e-6).sqrt()  # the root has no gradient at 0

    def forward(self, fused, vi, ir):
        """Loss of N×1×H×W images in [0, 1]."""
        target = torch.maximum(self.deviation(vi), self.deviation(ir))
        return self.loss_weight * (self.deviation(fused) - target).abs().mean()
