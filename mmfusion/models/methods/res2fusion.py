"""Res2Fusion: dense Res2Net blocks, fused by two non-local attentions.

Wang, Wu, Wang, Xu, Shao: "Res2Fusion: Infrared and Visible Image Fusion Based on Dense Res2net and Double Nonlocal
Attention Models", IEEE TIM 71, 2022. https://doi.org/10.1109/TIM.2021.3139654

Training reconstructs single images. In tests each image's features are improved by attention over channels and, for
itself, by attention of each pixel over means of 8×8 pixels; the improved features weight those of the two images, and
the two fused results are averaged. No part of it is learned.

The public code (Zhishe-Wang/Res2Fusion, bfa461d) normalises the energies of each attention to [0, 1] before its
softmax, and works on images of 0…255. It keeps all energies, H·W × H·W/64 numbers; here many are made twice, in parts.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import exporting_file, not_zero
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all

from .mufusion import ms_ssim

_PART = 2**20  # energies, which a processor's cache holds


def conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Conv2d:
    """Make a convolution with reflected borders."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode='reflect')


class Res2Block(nn.Module):
    """Res2Net block: three of four groups convolved, one upon another."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.expand = conv(in_channels, 4 * width, 1)
        self.convs = nn.ModuleList(conv(width, width) for _ in range(3))
        self.project, self.shortcut = conv(4 * width, out_channels, 1), conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×out_channels×H×W."""
        *groups, last = self.expand(x).relu().chunk(4, 1)
        out = []
        for layer, group in zip(self.convs, groups, strict=True):
            out.append(layer(group + out[-1] if out else group).relu())
        return (self.project(torch.cat([*out, last], 1)) + self.shortcut(x)).relu()


@MODELS.register_module()
class Res2Fusion(nn.Module):
    """Res2Fusion: dense encoder, double non-local attention, decoder.

    Args:
        channels: Of the encoder's convolution and its two blocks.
        widths: Of a group of channels in the two blocks.
        window: Pixels, in either direction, whose mean is a key of the spatial attention.
        kept: Energies that are kept; more than these are made twice, in parts, to find their range first.
    """

    def __init__(
        self,
        channels: tuple[int, int, int] = (16, 32, 64),
        widths: tuple[int, int] = (4, 8),
        window: int = 8,
        kept: int = 2**27,
    ) -> None:
        super().__init__()
        first, second, third = channels
        self.stem = conv(1, first)
        self.blocks = nn.ModuleList([Res2Block(first, second, widths[0]), Res2Block(first + second, third, widths[1])])
        widths = (sum(channels), third, second, first, 1)
        self.decoder = nn.Sequential(*(nn.Sequential(conv(a, b), nn.ReLU(inplace=True)) for a, b in pairwise(widths)))
        self.min_size = self.window = window
        self.kept = kept

    def encode(self, image: Tensor) -> Tensor:
        """N×1×H×W → N×C×H×W, the results of all layers."""
        x = self.stem(image).relu()
        for block in self.blocks:
            x = torch.cat([x, block(x)], 1)
        return x

    def channel_attention(self, x: Tensor) -> Tensor:
        """Add to each channel what it finds in the others."""
        flat = x.flatten(2)
        energy = flat @ flat.mT
        # The energies of a constant image are equal, and their softmax is the same by any factor.
        span = energy.amax((1, 2), keepdim=True) - energy.amin((1, 2), keepdim=True)
        return x + ((energy / not_zero(span)).softmax(-1) @ flat).view(x.shape)

    def spatial_attention(self, x: Tensor) -> Tensor:
        """Add to each pixel what it finds in the means of windows."""
        keys = F.avg_pool2d(x, self.window).flatten(2)
        queries = x.flatten(2).mT.contiguous()
        few = exporting_file() or queries.shape[1] * keys.shape[-1] <= self.kept
        parts = [queries] if few else queries.split(max(1, _PART // keys.shape[-1]), 1)
        low, high = [], []
        for part in parts:
            energy = part @ keys
            low.append(energy.amin((1, 2)))
            high.append(energy.amax((1, 2)))
        # A softmax does not see the minimum that normalisation takes off.
        span = not_zero(torch.stack(high).amax(0) - torch.stack(low).amin(0)).view(-1, 1, 1)
        means = keys.mT.contiguous()
        if few:
            found = (energy / span).softmax(-1) @ means
        else:
            found = torch.cat([((part / span) @ keys).softmax(-1) @ means for part in parts], 1)
        return x + found.mT.reshape(x.shape)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images of 0…255; N×1×H×W, 0 or more."""
        vi, ir = self.encode(vi), self.encode(ir)
        fused = 0
        for attention in (self.channel_attention, self.spatial_attention):
            weight_vi, weight_ir = attention(vi), attention(ir)
            fused = fused + (weight_vi * vi + weight_ir * ir) / not_zero(weight_vi + weight_ir, 1e-10)
        return self.decoder(fused / 2)

    def reconstruct(self, vi: Tensor) -> dict[str, Tensor]:
        """Reconstruct images N×1×H×W of 0…255: the phase of training."""
        return dict(reconstructed=self.decoder(self.encode(vi)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters."""
        names = {
            'encoder_conv.0.': 'stem.',
            'RB1.': 'blocks.0.',
            'RB2.': 'blocks.1.',
            '.conv2d.': '.',
            '.conv1.': '.expand.',
            '.conv2.': '.project.',
            '.conv3.': '.shortcut.',
        }
        renamed = {}
        for name, value in state.items():
            if name.startswith('conv'):
                name = f'decoder.{int(name[4]) - 1}.0{name.removeprefix(name[:5]).removeprefix(".conv2d")}'
            name = replace_all(name, names)
            renamed[name] = value
        return renamed


@MODELS.register_module()
class Res2FusionLoss(nn.Module):
    """Compare reconstructions of 0…255 with their images: mean squared error + λ(1 − MS-SSIM).

    Args:
        ssim: λ.
        loss_weight: Factor on the loss.
    """

    def __init__(self, ssim: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.ssim, self.loss_weight = ssim, loss_weight

    def forward(self, reconstructed: Tensor, vi: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 16×16 or larger; also gives the terms for the log."""
        terms = dict(pixel=F.mse_loss(reconstructed, 255 * vi), ssim=self.ssim * (1 - ms_ssim(reconstructed / 255, vi)))
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}
