"""Lite: a network of 41 thousand parameters, for video on cameras.

It is mmfusion's own.

Both images are folded to half their size (four pixels become four channels), where convolutions are cheap and see twice as
far; the body works at a quarter of the size. What comes out, unfolded, says of each pixel how the two sources are weighed,
and what is added to that: fused = w · vi + (1 − w) · ir + r. So textures come from the sources themselves, and not through a
bottleneck.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.registry import MODELS


def _conv(cin: int, cout: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride, padding=1)


@MODELS.register_module()
class Lite(nn.Module):
    """Weigh the sources pixel by pixel and add a residual.

    Images are extended by reflection on all sides, so that no frame is left by the zeros around the convolutions, and to
    a multiple of 4.

    Args:
        channels: At half and at a quarter of the size.
        depth: Convolutions at a quarter of the size, each but the first with a residual.
        margin: Pixels by which images are extended, a multiple of 4. With 20 no pixel that is kept sees the zeros around the
            convolutions at a quarter of the size; with 8 a flat pair has a frame of up to 8 grey levels.
    """

    min_size = 24  # more than the margin, and than what is missing to a multiple of 4, which are reflected

    def __init__(self, channels: tuple[int, int] = (16, 32), depth: int = 3, margin: int = 20) -> None:
        super().__init__()
        half, quarter = channels
        self.margin = margin
        self.stem = _conv(2 * 4, half)
        self.down = _conv(half, quarter, stride=2)
        self.body = nn.ModuleList(_conv(quarter, quarter) for _ in range(depth))
        self.up = nn.Conv2d(quarter, 4 * half, 1)
        self.mix = _conv(2 * half, half)
        self.head = _conv(half, 2 * 4)
        # Training starts near the average of both.
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images in [0, 1]; also gives ``weight``.

        ``fused`` is about in [0, 1], ``weight`` that of the visible image, N×1×H×W each.
        """
        height, width = vi.shape[-2:]
        m = self.margin
        sides = (m, m + -width % 4, m, m + -height % 4)
        folded = F.pixel_unshuffle(F.pad(torch.cat([vi, ir], 1), sides, mode='reflect'), 2)
        # Convolutions of few channels are faster so, on a CPU by a factor of 1.7, and hand the layout on.
        fine = self.stem(folded.contiguous(memory_format=torch.channels_last)).relu()
        coarse = self.down(fine).relu()
        coarse = self.body[0](coarse).relu()
        for conv in self.body[1:]:
            coarse = (conv(coarse) + coarse).relu()
        coarse = F.pixel_shuffle(self.up(coarse), 2).relu()
        out = F.pixel_shuffle(self.head(self.mix(torch.cat([fine, coarse], 1)).relu()), 2)
        logit, rest = out[..., m : m + height, m : m + width].split(1, dim=1)
        weight = logit.sigmoid().to(ir.dtype)  # mixed precision
        return dict(fused=torch.lerp(ir, vi, weight) + rest, weight=weight)
