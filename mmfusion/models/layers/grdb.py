"""The gradient residual dense block of SeAFusion (Tang et al., 2022), which GFFusion takes over."""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.registry import MODELS

from .sobel import sobel_magnitude


@MODELS.register_module()
class GRDB(nn.Module):
    """Gradient residual dense block (GFFusion, section III-B.1).

    Dense branch: two 3×3 convolutions with LeakyReLU, each fed with everything before it, then a 1×1 convolution to the
    output's channels. Gradient branch: Sobel magnitude |∂x| + |∂y|, then a 1×1 convolution. LeakyReLU of their sum.

    Args:
        cin, cout (int): Channels.
        negative_slope (float): Of the LeakyReLUs.
    """

    def __init__(self, cin, cout, negative_slope=0.2):
        super().__init__()
        self.negative_slope = negative_slope
        self.dense = nn.ModuleList(nn.Conv2d(k * cin, cin, 3, padding=1) for k in (1, 2))
        self.reduce = nn.Conv2d(3 * cin, cout, 1)
        self.gradient = nn.Conv2d(cin, cout, 1)

    def forward(self, x):
        """N×cin×H×W → N×cout×H×W."""
        features = x
        for conv in self.dense:
            features = torch.cat([features, self._act(conv(features))], dim=1)
        return self._act(self.reduce(features) + self.gradient(sobel_magnitude(x)))

    def _act(self, x):
        return F.leaky_relu(x, self.negative_slope)
