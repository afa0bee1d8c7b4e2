"""How a fused image gets its colours."""

import torch
from kornia.color import rgb_to_ycbcr, ycbcr_to_rgb
from torch import Tensor, nn

from mmfusion.models.layers import at_least_float32
from mmfusion.registry import MODELS


def luminance(rgb: Tensor) -> Tensor:
    """Compute Y of BT.601, N×3×H×W → N×1×H×W."""
    return rgb_to_ycbcr(rgb)[:, :1]


def _join(y: Tensor, chroma: Tensor) -> Tensor:
    return ycbcr_to_rgb(torch.cat([at_least_float32(y), chroma], dim=1)).clamp(0, 1)


@MODELS.register_module()
class LuminanceColor(nn.Module):
    """Keep the visible image's Cb and Cr: the network fuses luminance."""

    channels = 1

    def forward(self, fused: Tensor, vi_rgb: Tensor) -> Tensor:
        """Join fused luminance N×1×H×W and the colours of N×3×H×W, R, G, B in [0, 1]; clipped to [0, 1]."""
        return _join(fused, rgb_to_ycbcr(at_least_float32(vi_rgb))[:, 1:])


@MODELS.register_module()
class RGBColor(nn.Module):
    """Take the fused image as it is: the network gives colours, N×3×H×W."""

    channels = 3

    def forward(self, fused: Tensor) -> Tensor:
        """Give back the fused image, R, G, B in [0, 1]."""
        return fused


@MODELS.register_module()
class WeightedChromaColor(nn.Module):
    """Merge Cb and Cr of two colour sources, each weighted by its distance from grey.

    C = (C₁|C₁ − τ| + C₂|C₂ − τ|) / (|C₁ − τ| + |C₂ − τ|), τ = 0.5, and τ where both are grey: the rule of DeepFuse
    (Prabhakar et al., ICCV 2017) for exposures and focus stacks. A grey second source leaves the colours of the first.
    """

    channels = 1

    def forward(self, fused: Tensor, vi_rgb: Tensor, ir: Tensor, second_rgb: Tensor | None = None) -> Tensor:
        """Join fused luminance and merged colours.

        Args:
            fused: N×1×H×W in [0, 1].
            vi_rgb: N×3×H×W in [0, 1].
            ir: N×1×H×W; the second source where there is no ``second_rgb``.
            second_rgb: N×3×H×W, a companion of the sample.
        """
        second = ir.expand(-1, 3, -1, -1) if second_rgb is None else second_rgb
        first, second = (rgb_to_ycbcr(at_least_float32(x))[:, 1:] - 0.5 for x in (vi_rgb, second))
        weight = first.abs() + second.abs()
        merged = first * first.abs() + second * second.abs()
        # Conversion leaves about 1e-7 of colour in a grey image; it must not count as colour.
        return _join(fused, 0.5 + torch.where(weight > 1e-6, merged / weight.clamp_min(1e-6), 0.0))
