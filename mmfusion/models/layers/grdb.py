"""The gradient residual dense block of SeAFusion (Tang et al., 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.registry import MODELS

from .sobel import sobel_magnitude


@MODELS.register_module()
class GRDB(nn.Module):
    """Gradient residual dense block (GFFusion, section III-B.1).

    Dense branch: two 3×3 convolutions with LeakyReLU, each fed with everything before it, then a 1×1 convolution to the
    output's channels. Gradient branch: Sobel magnitude |∂x| + |∂y|, then a 1×1 convolution. LeakyReLU of their sum.

    Args:
        cin, cout: Channels.
        negative_slope: Slope of the LeakyReLUs.
        out_slope: Slope of the last one, after the sum; SeAFusion's public code has 0.1 there.
        learn_gradient: Make the gradient's kernels parameters that start as Sobel's, as SeAFusion's public code does.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        negative_slope: float = 0.2,
        out_slope: float | None = None,
        learn_gradient: bool = False,
    ) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.out_slope = negative_slope if out_slope is None else out_slope
        self.kernels = nn.Parameter(torch.empty(2, cin, 1, 3, 3)) if learn_gradient else None
        self.reset_parameters()
        self.dense = nn.ModuleList(nn.Conv2d(k * cin, cin, 3, padding=1) for k in (1, 2))
        self.reduce = nn.Conv2d(3 * cin, cout, 1)
        self.gradient = nn.Conv2d(cin, cout, 1)

    def reset_parameters(self) -> None:
        """Start the learned kernels as Sobel's."""
        if self.kernels is not None:
            kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
            with torch.no_grad():
                self.kernels.copy_(torch.stack([kernel, kernel.T])[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Run on N×cin×H×W; N×cout×H×W."""
        features = x
        for conv in self.dense:
            features = torch.cat([features, self._act(conv(features))], dim=1)
        return F.leaky_relu(self.reduce(features) + self.gradient(self._magnitude(x)), self.out_slope, inplace=True)

    def _magnitude(self, x: Tensor) -> Tensor:
        if self.kernels is None:
            return sobel_magnitude(x)
        dx, dy = (F.conv2d(x, kernel, padding=1, groups=x.shape[1]).abs() for kernel in self.kernels)
        return dx + dy

    def _act(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope, inplace=True)
