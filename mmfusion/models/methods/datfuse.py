"""DATFuse: residual attention and a transformer on both images.

Tang, He, Liu, Duan, Si: "DATFuse: Infrared and Visible Image Fusion via Dual Attention Transformer", IEEE TCSVT 33 (7),
2023. https://doi.org/10.1109/TCSVT.2023.3234340

The images are joined at the input. A dual attention residual module (DARM), a transformer module (TRM), a second DARM
and a 1×1 convolution follow.

What the public code (tthinking/DATFuse, 0cd93f1) does, and the paper's drawing does not show:

- Both DARMs are the same weights, and within it both 3×3 convolutions and their batch norms are, too.
- The second DARM adds its own convolved features, not its input, and has no ReLU.
- As in YDTR, by the same authors: windows of one token, so that attention is the value, and tokens that are C neighbouring
  values of a channel's rows. See :mod:`.ydtr`.
- The gradient loss compares one number: the mean over the batch of ∂x + ∂y, signs included.
"""

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import sobel
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all

from .ydtr import TokenTransformer, conv_bn_relu


class DARM(nn.Module):
    """Dual attention residual module: features y = conv(x), y·channel + y·spatial, and a residual."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.conv = conv_bn_relu(channels, channels, 3)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 3, padding=1),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Weight features N×C×H×W, and add ``residual`` or themselves."""
        y = self.conv[:2](self.conv(x))
        return y * (self.channel(y) + self.spatial(y)) + (y if residual is None else residual)


@MODELS.register_module()
class DATFuse(nn.Module):
    """DATFuse: stem, DARM, TRM, DARM, 1×1 convolution and Tanh.

    Args:
        channels: Width.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.stem = conv_bn_relu(2, channels, 5)
        self.darm = DARM(channels)
        self.transformer = TokenTransformer(channels)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W in (−1, 1)."""
        x = self.stem(torch.cat([ir, vi], 1))
        x = self.transformer(self.darm(x, residual=x).relu())
        return self.head(self.darm(x)).tanh()

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; an unused norm is dropped."""
        names = {
            'convolutional.conv.': 'stem.0.',
            'convolutional.bn.': 'stem.1.',
            'fem.conv.': 'darm.conv.0.',
            'fem.bn.': 'darm.conv.1.',
            'cam.fc.0.': 'darm.channel.1.',
            'cam.fc.2.': 'darm.channel.3.',
            'sam.body.': 'darm.spatial.',
            'convolutional_out.conv.': 'head.',
        }
        renamed = {}
        for name, value in state.items():
            if name.startswith('patch_embed.') or 'relative_position' in name:
                continue
            name, value = TokenTransformer.rename(name, value)
            name = replace_all(name, names)
            renamed[name] = value
        return renamed


@MODELS.register_module()
class DATFuseLoss(nn.Module):
    """DATFuse's loss: pixels of both sources, structure and gradient of their maximum.

    ‖f − ir‖² + α‖f − vi‖² + γ(1 − SSIM(f, max(ir, vi))) + λ|g(f) − max(g(ir), g(vi))|: mean squares, SSIM with an 11×11
    window and no padding, and g the mean of ∂x + ∂y over the batch, as the public code has it.

    Args:
        alpha: α.
        gamma: γ.
        lam: λ.
        loss_weight: Factor on the loss.
    """

    def __init__(self, alpha: float = 1.0, gamma: float = 10.0, lam: float = 100.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.gamma, self.lam, self.loss_weight = alpha, gamma, lam, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 11×11 or more; also gives logged terms."""
        gradient = self.mean_gradient
        target = torch.maximum(gradient(ir), gradient(vi))
        terms = dict(
            pixel=F.mse_loss(fused, ir) + self.alpha * F.mse_loss(fused, vi),
            ssim=self.gamma * (1 - ssim(fused, torch.maximum(ir, vi), data_range=1.0)),
            gradient=self.lam * (gradient(fused) - target).abs(),
        )
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}

    @staticmethod
    def mean_gradient(x: Tensor) -> Tensor:
        """Mean of Sobel's ∂x − ∂y, ∂y downwards: a scalar."""
        dx, dy = sobel(x)
        return (dx - dy).mean()
