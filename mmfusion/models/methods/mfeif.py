"""MFEIF: features of three receptive fields, joined where an edge-guided attention looks.

Liu, Fan, Jiang, Liu, Luo: "Learning a Deep Multi-Scale Feature Ensemble and an Edge-Attention Guidance for Image
Fusion", IEEE TCSVT 32 (1), 2022. https://doi.org/10.1109/TCSVT.2021.3056725

An extractor with three branches, whose first convolutions are dilated by 1, 2 and 3, gives deep features and, by sums
over the branches, features of two earlier levels. Deep features are added with a weight for each pixel, from an
attention network that sees the image and its edges. Earlier ones are joined by (a + b + min(a, b)) / 3. A decoder takes
the levels one by one.

What the public code (JinyuanLiu-CV/MFEIF, 07906ad) does beside: the deep features are the branches' sum with weights
0.1, 0.1 and 1, and after fusion go through a softmax over channels. It has no training.
"""

import re

import torch
from kornia.filters import spatial_gradient
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import length
from mmfusion.registry import MODELS


def block(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Make a 3×3 convolution with batch norm and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class Extractor(nn.Module):
    """Multi-scale features of an image: deep, and of two earlier levels."""

    weights = (0.1, 0.1, 1.0)  # of the branches in the deep features

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem, first, second, third = channels
        self.stem = block(1, stem)
        self.branches = nn.ModuleList(
            nn.ModuleList([block(stem, first, dilation), block(first, second), block(second, third)])
            for dilation in (1, 2, 3)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """N×1×H×W → features of the third, second and first level, N×C×H×W each."""
        x = self.stem(x)
        first = [branch[0](x) for branch in self.branches]
        second = [branch[1](y) for branch, y in zip(self.branches, first, strict=True)]
        third = [branch[2](y) for branch, y in zip(self.branches, second, strict=True)]
        deep = sum(weight * y for weight, y in zip(self.weights, third, strict=True))
        return deep, sum(second), sum(first)


class EdgeAttention(nn.Sequential):
    """A weight for each pixel from an image plus its thickened edges."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        layers, before = [], 1
        for hidden, after in zip(channels[::2], channels[1::2], strict=True):
            layers += [
                nn.Conv2d(before, hidden, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden, after, 3, padding=2, dilation=2),
            ]
            before = after
        super().__init__(*layers, nn.Conv2d(before, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N×1×H×W → N×1×H×W, any range."""
        edges = length(*spatial_gradient(x, mode='diff').unbind(2))
        return super().forward(x + F.max_pool2d(edges, 3, stride=1, padding=1))


@MODELS.register_module()
class MFEIF(nn.Module):
    """MFEIF: extractor, edge attention, fusion of each level, decoder.

    Args:
        channels: Of the extractor: stem, and three levels.
        attention: Of the attention's three pairs of convolutions.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (16, 32, 48, 64),
        attention: tuple[int, ...] = (32, 32, 64, 128, 64, 32),
    ) -> None:
        super().__init__()
        stem, first, second, third = channels
        self.extractor = Extractor(channels)
        self.attention = EdgeAttention(attention)
        self.decoder = nn.ModuleList(
            [block(third, stem), block(stem + second, first), block(2 * first, stem), block(stem, 1)]
        )

    def decode(self, deep: Tensor, second: Tensor, first: Tensor) -> Tensor:
        """Turn features of three levels into an image, N×1×H×W, 0 or more."""
        one, two, three, four = self.decoder
        x = one(deep.softmax(1))
        x = two(torch.cat([x, second], 1))
        return four(three(torch.cat([x, first], 1)))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W, 0 or more."""
        deep_ir, *early_ir = self.extractor(ir)
        deep_vi, *early_vi = self.extractor(vi)
        deep = deep_ir * self.attention(ir) + deep_vi * self.attention(vi)
        second, first = ((a + b + torch.minimum(a, b)) / 3 for a, b in zip(early_ir, early_vi, strict=True))
        return self.decode(deep, second, first)

    def reconstruct(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Reconstruct each image from its own features, before fusion is trained."""
        reconstructed_ir, reconstructed_vi = self.decode(*self.extractor(torch.cat([ir, vi]))).chunk(2)
        return dict(reconstructed_vi=reconstructed_vi, reconstructed_ir=reconstructed_ir)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public file's parts ``ext``, ``con`` and ``att``."""

        def rename(name):
            part, rest = name.split('.', 1)
            rest = rest.replace('.conv.', '.0.').replace('.bn.', '.1.')
            if part == 'ext':
                rest = rest.replace('conv_1.', 'stem.')
                return 'extractor.' + re.sub(
                    r'conv_([abc])([123])\.', lambda m: f'branches.{"abc".index(m[1])}.{int(m[2]) - 1}.', rest
                )
            if part == 'con':
                return 'decoder.' + re.sub(r'conv_(\d)\.', lambda m: f'{int(m[1]) - 1}.', rest)
            if part == 'att':
                pair = re.compile(r'conv_(\d)\.conv_([12])\.')
                rest = pair.sub(lambda m: f'{3 * (int(m[1]) - 1) + 2 * (int(m[2]) - 1)}.', rest)
                return 'attention.' + rest.replace('conv_4.', '9.')
            raise KeyError(f'{name}: expected names that begin with ext., con. or att.')

        return {rename(name): value for name, value in state.items()}


@MODELS.register_module()
class MFEIFReconstructionLoss(nn.Module):
    """Compare reconstructed images with their sources: Σ_x ‖x̂ − x‖² + λ(1 − SSIM(x̂, x)).

    Args:
        lam: λ.
        loss_weight: Factor on the loss.
    """

    def __init__(self, lam: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.lam, self.loss_weight = lam, loss_weight

    def forward(self, reconstructed_vi: Tensor, reconstructed_ir: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compare N×1×H×W images of 11×11 pixels or more."""
        made, source = torch.cat([reconstructed_vi, reconstructed_ir]), torch.cat([vi, ir])
        return self.loss_weight * 2 * (F.mse_loss(made, source) + self.lam * (1 - ssim(made, source, data_range=1.0)))
