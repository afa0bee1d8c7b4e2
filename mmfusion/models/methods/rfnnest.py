"""NestFuse and RFN-Nest: a nested auto-encoder, fused by rule or network.

Li, Wu, Durrani: "NestFuse: An Infrared and Visible Image Fusion Architecture Based on Nest Connection and Spatial/Channel
Attention Models", IEEE TIM 69 (12), 2020. https://doi.org/10.1109/TIM.2020.3005230
Li, Wu, Kittler: "RFN-Nest: An End-to-End Residual Fusion Network for Infrared and Visible Images", Information Fusion 73,
2021. https://doi.org/10.1016/j.inffus.2021.02.023

The encoder gives features of four scales, the decoder joins them as UNet++ does. Both are trained on single images first.
NestFuse then fuses by a rule; RFN-Nest trains a residual fusion network (RFN) at each scale, with the auto-encoder fixed.

Public code: hli1221/imagefusion-nestfuse and hli1221/imagefusion-rfn-nest (76e4e05). All layers end in ReLU, the last one
too; images are 0…255.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import at_least_float32
from mmfusion.registry import MODELS

from .mufusion import ms_ssim

EPSILON = 1e-5  # of both weights of NestFuse's attention
POOLINGS = {
    'average': lambda x: x.mean((2, 3), keepdim=True),
    'max': lambda x: x.amax((2, 3), keepdim=True),
    'nuclear': lambda x: torch.linalg.svdvals(x + EPSILON).sum(-1)[..., None, None],
}


def unit(cin: int, cout: int, kernel_size: int = 3) -> nn.Sequential:
    """Build a convolution on reflected borders with ReLU."""
    conv = nn.Conv2d(cin, cout, kernel_size, padding=kernel_size // 2, padding_mode='reflect')
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def block(cin: int, cout: int) -> nn.Sequential:
    """Build a 3×3 unit to half the channels, then a 1×1 unit."""
    return nn.Sequential(unit(cin, cin // 2), unit(cin // 2, cout, 1))


class Encoder(nn.Module):
    """Encode N×1×H×W to features of four scales, each half."""

    def __init__(self, channels: Sequence[int], stem: int) -> None:
        super().__init__()
        self.stem = unit(1, stem, 1)
        self.blocks = nn.ModuleList(block(a, b) for a, b in zip((stem, *channels), channels, strict=False))

    def forward(self, image: Tensor) -> list[Tensor]:
        """N×1×H×W → N×C×H×W, N×C'×H/2×W/2 and so on, sizes rounded down."""
        x = self.stem(image)
        features = []
        for k, layer in enumerate(self.blocks):
            x = layer(F.max_pool2d(x, 2) if k else x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Decode four scales: nodes see theirs and the enlarged one below."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(
            nn.ModuleList(block(column * width + below, width) for column in range(1, len(channels) - level))
            for level, (width, below) in enumerate(pairwise(channels))
        )
        self.last = unit(channels[0], 1, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Make the last weights positive.

        The features are positive and the last layer ends in ReLU: with weights of either sign, many a random start gives
        black images, from which no gradient comes.
        """
        with torch.no_grad():
            self.last[0].weight.abs_()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the encoder's shapes → N×1×H×W, 0 or more."""
        grid = [[x] for x in features]
        for column in range(len(features) - 1):
            for level in range(len(features) - 1 - column):
                below = _enlarge(grid[level + 1][column], grid[level][0])
                grid[level].append(self.nodes[level][column](torch.cat([*grid[level], below], 1)))
        return self.last(grid[0][-1])


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Double the size; an odd size's missing row is reflected."""
    x = F.interpolate(x, scale_factor=2)
    return F.pad(x, (0, like.shape[3] - x.shape[3], 0, like.shape[2] - x.shape[2]), mode='reflect')


class RFN(nn.Module):
    """Residual fusion network of a scale: joined features, plus learned ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.join = unit(2 * channels, channels)
        self.ir, self.vi = unit(channels, channels), unit(channels, channels)
        self.residual = nn.Sequential(
            unit(2 * channels, channels, 1), unit(channels, channels), unit(channels, channels)
        )

    def forward(self, ir: Tensor, vi: Tensor) -> Tensor:
        """Fuse N×C×H×W features."""
        return self.join(torch.cat([ir, vi], 1)) + self.residual(torch.cat([self.ir(ir), self.vi(vi)], 1))


@MODELS.register_module()
class NestFuse(nn.Module):
    """NestFuse: the auto-encoder, and a rule of attention over channels and pixels.

    Args:
        channels: Of the four scales.
        stem: Channels of the first layer.
        pooling: What a channel's weight is made of: ``'average'``, ``'max'`` or ``'nuclear'`` (nuclear norm).

    Raises:
        ValueError: If the pooling is unknown.
    """

    min_size = 16

    def __init__(self, channels: Sequence[int] = (64, 112, 160, 208), stem: int = 16, pooling: str = 'average') -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f'pooling must be one of {", ".join(POOLINGS)}, got {pooling!r}')
        self.pooling = pooling
        self.encoder, self.decoder = Encoder(channels, stem), Decoder(channels)

    def reconstruct(self, vi: Tensor, ir: Tensor | None = None) -> dict[str, Tensor]:
        """Give images of 0…255 back: the phase of training."""
        images = dict(vi_hat=vi) if ir is None else dict(vi_hat=vi, ir_hat=ir)
        return {name: self.decoder(self.encoder(image)) for name, image in images.items()}

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images of 0…255; N×1×H×W, 0 or more."""
        return self.decoder([self.attend(b, a) for a, b in zip(self.encoder(vi), self.encoder(ir), strict=True)])

    def attend(self, ir: Tensor, vi: Tensor) -> Tensor:
        """Fuse N×C×H×W features: the mean of both attentions' results."""
        weight_ir, weight_vi = POOLINGS[self.pooling](ir), POOLINGS[self.pooling](vi)
        channel = (weight_ir * ir + weight_vi * vi) / (weight_ir + weight_vi + EPSILON)
        level_ir, level_vi = ir.mean(1, keepdim=True), vi.mean(1, keepdim=True)
        # eᵃ / (eᵃ + eᵇ + ε) without overflow: features of images in 0…255 are large.
        levels = torch.stack([level_ir, level_vi, torch.full_like(level_ir, math.log(EPSILON))])
        weight_ir, weight_vi, _ = levels.softmax(0)
        return (channel + weight_ir * ir + weight_vi * vi) / 2

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters, of one file or of two."""
        return {_ours(name): value for name, value in state.items()}


@MODELS.register_module()
class RFNNest(NestFuse):
    """RFN-Nest: NestFuse's auto-encoder, and a residual fusion network for each scale.

    Args:
        channels: Of the four scales.
        stem: Channels of the first layer.
    """

    def __init__(self, channels: Sequence[int] = (64, 112, 160, 208), stem: int = 16) -> None:
        super().__init__(channels, stem)
        self.fusion = nn.ModuleList(RFN(width) for width in channels)

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Fuse N×1×H×W images of 0…255; also gives the features of all scales."""
        vi, ir = self.encoder(vi), self.encoder(ir)
        fused = [rfn(b, a) for rfn, a, b in zip(self.fusion, vi, ir, strict=True)]
        return dict(fused=self.decoder(fused), features=fused, features_vi=vi, features_ir=ir)


def _ours(name: str) -> str:
    """Translate a parameter's name, without a file's prefix."""
    patterns = (
        (r'conv0', lambda m: 'encoder.stem'),
        (r'conv_out', lambda m: 'decoder.last'),
        (r'DB(\d)_0\.denseblock\.(\d)', lambda m: f'encoder.blocks.{int(m[1]) - 1}.{m[2]}'),
        (r'DB(\d)_(\d)\.denseblock\.(\d)', lambda m: f'decoder.nodes.{int(m[1]) - 1}.{int(m[2]) - 1}.{m[3]}'),
        (r'fusion_block(\d)\.conv_fusion', lambda m: f'fusion.{int(m[1]) - 1}.join'),
        (r'fusion_block(\d)\.conv_(ir|vi)', lambda m: f'fusion.{int(m[1]) - 1}.{m[2]}'),
        (r'fusion_block(\d)\.bottelblock\.(\d)', lambda m: f'fusion.{int(m[1]) - 1}.residual.{m[2]}'),
    )
    layer, found, part = name.rpartition('.conv2d.')
    for pattern, make in patterns:
        if found and (match := re.search(rf'(?:^|\.){pattern}$', layer)):
            return f'{make(match)}.0.{part}'
    raise ValueError(f'{name!r} is no parameter of the public NestFuse or RFN-Nest. Give their unchanged files.')


@MODELS.register_module()
class RFNLoss(nn.Module):
    """Keep details of the visible image, and features of both.

    α (1 − S(f, vi)) + Σ_m w₁(m) mean (Φ_f − (w_vi Φ_vi + w_ir Φ_ir))² over scales m; OCCO's eq. 22 and 23 for it. S is SSIM
    in the paper and MS-SSIM, its terms (1 + x) / 2, in the public code; that is taken here, and its numbers.

    Args:
        detail: α.
        scales: w₁, from the largest scale to the smallest.
        vi, ir: w_vi, w_ir.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self,
        detail: float = 700.0,
        scales: Sequence[float] = (1.0, 10.0, 100.0, 1000.0),
        vi: float = 3.0,
        ir: float = 6.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.detail, self.scales, self.weights, self.loss_weight = detail, tuple(scales), (vi, ir), loss_weight

    def forward(
        self,
        fused: Tensor,
        vi: Tensor,
        features: Sequence[Tensor],
        features_vi: Sequence[Tensor],
        features_ir: Sequence[Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 16×16 or larger, and features; with terms."""
        w_vi, w_ir = self.weights
        feature = 0.0
        for weight, *maps in zip(self.scales, features, features_vi, features_ir, strict=True):
            f, a, b = (at_least_float32(x) for x in maps)
            feature = feature + weight * F.mse_loss(f, w_vi * a + w_ir * b)
        terms = dict(detail=self.detail * (1 - ms_ssim(fused, vi)), feature=feature)
        return self.loss_weight * sum(terms.values()), {name: value.detach() for name, value in terms.items()}
