"""How a fused image gets its colours."""

import torch
from kornia.color import rgb_to_y, rgb_to_ycbcr
from torch import Tensor, nn

from mmfusion.models.layers import at_least_float32, min_max_normalize
from mmfusion.registry import MODELS


def luminance(rgb: Tensor, levels: str | None = None) -> Tensor:
    """Compute Y of BT.601, N×3×H×W → N×1×H×W.

    Args:
        rgb: In [0, 1].
        levels: None; or how Y becomes one of 256 levels, in public code that computes it at 8 bits. ``'round'``: as OpenCV
            does in cvtColor and ``imread(…, 0)``. ``'truncate'``: 0.299 R + 0.587 G + 0.114 B cut to the level below;
            images that are grey everywhere keep their levels.
    """
    if levels is None:
        return rgb_to_y(rgb)
    red, green, blue = (rgb.double() * 255).round().split(1, dim=1)
    if levels == 'round':
        y = ((4899 * red + 9617 * green + 1868 * blue + 8192) / 16384).floor()  # OpenCV's integers of 14 bits
    else:
        y = (0.299 * red + 0.587 * green + 0.114 * blue).floor()
        grey = ((red == green) & (green == blue)).all(dim=(1, 2, 3), keepdim=True)
        y = torch.where(grey, red, y)
    return (y / 255).to(rgb.dtype)


# Shares of Cr in R and G, and of Cb in G and B. Older versions of kornia have the rounded ones alone.
_SHARES = dict(
    exact=(1 / 0.713, 0.299 / 0.587 / 0.713, 0.114 / 0.587 / 0.564, 1 / 0.564), rounded=(1.403, 0.714, 0.344, 1.773)
)


def _join(y: Tensor, chroma: Tensor, inverse: str = 'exact') -> Tensor:
    blue, red = (chroma - 0.5).split(1, dim=1)
    y, (red_in_r, red_in_g, blue_in_g, blue_in_b) = at_least_float32(y), _SHARES[inverse]
    rgb = [y + red_in_r * red, y - red_in_g * red - blue_in_g * blue, y + blue_in_b * blue]
    return torch.cat(rgb, dim=1).clamp(0, 1)


@MODELS.register_module()
class LuminanceColor(nn.Module):
    """Keep the visible image's Cb and Cr: the network fuses luminance.

    Args:
        inverse: ``'exact'``, so that colours come back as they were; ``'rounded'`` to three digits as in OpenCV's
            documentation and much public code, which moves them by up to 3e-4.
        stretch: In tests, stretch each colour image to its full range, its channels together, as some public code does.

    Raises:
        ValueError: If ``inverse`` is unknown.
    """

    channels = 1

    def __init__(self, inverse: str = 'exact', stretch: bool = False) -> None:
        super().__init__()
        if inverse not in _SHARES:
            raise ValueError(f"inverse must be 'exact' or 'rounded', got {inverse!r}")
        self.inverse, self.stretch = inverse, stretch
        self.of_single_pixels = not stretch

    def forward(self, fused: Tensor, vi_rgb: Tensor) -> Tensor:
        """Join fused luminance and the colours of N×3×H×W; clipped to [0, 1]."""
        chroma = rgb_to_ycbcr(at_least_float32(vi_rgb))[:, 1:]
        rgb = _join(fused, chroma, self.inverse)
        return min_max_normalize(rgb, per_image=True) if self.stretch and not self.training else rgb


@MODELS.register_module()
class RGBColor(nn.Module):
    """Take the fused image as it is: the network gives colours, N×3×H×W."""

    channels = 3

    def forward(self, fused: Tensor) -> Tensor:
        """Give back the fused image, R, G, B in [0, 1]."""
        return fused


@MODELS.register_module()
class WeightedChromaColor(nn.Module):
    """Merge two sources' Cb and Cr, weighted by distance from grey.

    C = (C₁|C₁ − τ| + C₂|C₂ − τ|) / (|C₁ − τ| + |C₂ − τ|), τ = 0.5, and τ where both are grey: the rule of DeepFuse
    (Prabhakar et al., ICCV 2017) for exposures and focus stacks. A grey second source leaves the colours of the first.
    """

    channels = 1
    of_single_pixels = True

    def forward(self, fused: Tensor, vi_rgb: Tensor, ir: Tensor, second_rgb: Tensor | None = None) -> Tensor:
        """Join fused luminance N×1×H×W and merged colours, all in [0, 1].

        The second source is ``second_rgb`` (N×3×H×W), a companion of the sample, or else ``ir``.
        """
        second = ir.expand(-1, 3, -1, -1) if second_rgb is None else second_rgb
        first, second = (rgb_to_ycbcr(at_least_float32(x))[:, 1:] - 0.5 for x in (vi_rgb, second))
        weight = first.abs() + second.abs()
        merged = first * first.abs() + second * second.abs()
        # Conversion leaves about 1e-7 of colour in a grey image; it must not count as colour.
        return _join(fused, 0.5 + torch.where(weight > 1e-6, merged / weight.clamp_min(1e-6), 0.0))
