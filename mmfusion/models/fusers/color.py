"""How a fused image gets its colours."""

from collections.abc import Sequence

import torch
from kornia.color import rgb_to_y, rgb_to_ycbcr
from torch import Tensor, nn

from mmfusion.models.layers import at_least_float32, exporting_file, min_max_normalize
from mmfusion.registry import MODELS

from .output import ROUNDINGS, to_levels

# How Y may become one of 256 levels; see luminance.
LUMINANCES = ('round', 'pillow', 'truncate', 'ycbcr', 'studio')


def grey_everywhere(rgb: Tensor) -> Tensor:
    """Find images whose three channels are equal, N×3×H×W → N×1×1×1."""
    return (rgb == rgb[:, :1]).all(dim=(1, 2, 3), keepdim=True)


def luminance(rgb: Tensor, levels: str | None = None) -> Tensor:
    """Compute Y of BT.601, N×3×H×W → N×1×H×W.

    Args:
        rgb: In [0, 1].
        levels: None; or how Y becomes one of 256 levels, in public code that computes it at 8 bits. ``'round'``: as OpenCV
            does in cvtColor and ``imread(…, 0)``. ``'pillow'``: as Pillow's ``convert('L')`` and SciPy's ``imread(…,
            mode='L')`` do; one colour in 800 differs from OpenCV's, by one level. ``'truncate'``: 0.299 R + 0.587 G +
            0.114 B cut to the level below. ``'ycbcr'``: as SciPy's ``imread(…, flatten=True, mode='YCbCr')`` does by
            Pillow, to YCbCr and back at 8 bits, and from R, G and B of these in float. ``'studio'``: from 16 to 235, 16 +
            0.257 R + 0.504 G + 0.098 B, each product rounded, as MATLAB does with images of 8 bits. By the last three,
            images that are grey everywhere keep their levels.
    """
    if levels is None:
        return rgb_to_y(rgb)
    red, green, blue = given = (rgb.double() * 255).round().split(1, dim=1)
    if levels == 'round':
        y = ((4899 * red + 9617 * green + 1868 * blue + 8192) / 16384).floor()  # OpenCV's integers of 14 bits
    elif levels == 'pillow':
        y = ((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536).floor()  # Pillow's, of 16 bits
    elif levels == 'studio':
        y = 16 + sum((_times(share, x) + 0.5).floor() for share, x in zip((0.257, 0.504, 0.098), given, strict=True))
        y = torch.where(grey_everywhere(rgb), given[0], y)
    else:
        red, green, blue = _by_ycbcr(*given) if levels == 'ycbcr' else given
        y = _times(0.299, red) + _times(0.587, green) + _times(0.114, blue)
        y = torch.where(grey_everywhere(rgb), given[0], y.floor() if levels == 'truncate' else y)
    return (y / 255).to(rgb.dtype)


def _times(share: float, x: Tensor) -> Tensor:
    """Multiply float64 by a number that files keep as float64.

    Exporters round plain numbers to float32, by which a sum that is a whole level is cut to the level below.
    """
    return (x.new_tensor(share) if exporting_file() else share) * x


def _by_ycbcr(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bring levels to YCbCr of 8 bits and back, as Pillow does.

    Its tables are of whole 64ths, and their sums are cut to the level below.
    """

    def level(*terms: Tensor) -> Tensor:
        return (sum((64 * term + 0.5).long() for term in terms).double() / 64).floor()

    y = level(_times(0.299, red), _times(0.587, green), _times(0.114, blue))
    cb = level(_times(-0.16874, red), _times(-0.33126, green), _times(0.5, blue))
    cr = level(_times(0.5, red), _times(-0.41869, green), _times(-0.08131, blue))
    red_of_y, blue_of_y = level(_times(1.402, cr)), level(_times(1.772, cb))
    colours = y + red_of_y, y + level(_times(-0.34414, cb), _times(-0.71414, cr)), y + blue_of_y
    return tuple(colour.clamp(0, 255) for colour in colours)


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
class MatrixColor(nn.Module):
    """Keep the visible image's colours, by matrices of the config.

    For public code that computes colours by its own numbers: [Cb, Cr] = ``chroma`` · [R, G, B], and [R, G, B] =
    ``scale`` · (Y − ``black``) + ``inverse`` · [Cb, Cr].

    Args:
        chroma: Rows of Cb and Cr, 2×3.
        inverse: Rows of R, G and B, 3×2.
        scale, black: Of Y, in [0, 1].
        of_levels: In tests, the fused Y is rounded to 256 levels first, as where a script reads it from a file; and an image
            whose visible one is grey stays as it was fused.

    Raises:
        ValueError: If a matrix is not of its size.
    """

    channels = 1

    def __init__(
        self,
        chroma: Sequence[Sequence[float]],
        inverse: Sequence[Sequence[float]],
        scale: float = 1.0,
        black: float = 0.0,
        of_levels: bool = False,
    ) -> None:
        super().__init__()
        for name, matrix, shape in (('chroma', chroma, (2, 3)), ('inverse', inverse, (3, 2))):
            if [len(row) for row in matrix] != [shape[1]] * shape[0]:
                raise ValueError(f'{name}: expected {shape[0]} rows of {shape[1]} numbers, got {matrix}')
        self.chroma, self.inverse, self.scale, self.black = chroma, inverse, scale, black
        self.of_levels = of_levels
        self.of_single_pixels = not of_levels  # whether an image is grey is seen on the whole of it

    def forward(self, fused: Tensor, vi_rgb: Tensor) -> Tensor:
        """Join fused luminance and the colours of N×3×H×W; clipped to [0, 1]."""
        fused, given = at_least_float32(fused), at_least_float32(vi_rgb).split(1, dim=1)
        y = (fused * 255 + 0.5).floor() / 255 if self.of_levels and not self.training else fused
        y = self.scale * (y - self.black)
        blue, red = (sum(share * x for share, x in zip(row, given, strict=True)) for row in self.chroma)
        rgb = torch.cat([y + of_blue * blue + of_red * red for of_blue, of_red in self.inverse], dim=1).clamp(0, 1)
        return torch.where(grey_everywhere(vi_rgb), fused.clamp(0, 1), rgb) if self.of_levels else rgb


@MODELS.register_module()
class RGBColor(nn.Module):
    """Take the fused image as it is: the network gives colours, N×3×H×W.

    Args:
        keep_grey: In tests, a grey visible image gives a grey one: the fused colours, brought to 256 levels by this rounding
            (``'round'`` or ``'truncate'``), become OpenCV's grey, as in public code that is told of grey pairs. None leaves
            the colours that the network gives them.

    Raises:
        ValueError: If ``keep_grey`` is unknown.
    """

    channels = 3

    def __init__(self, keep_grey: str | None = None) -> None:
        super().__init__()
        if keep_grey not in (None, *ROUNDINGS):
            raise ValueError(f'keep_grey must be one of {", ".join(ROUNDINGS)}, or None, got {keep_grey!r}')
        self.keep_grey = keep_grey

    def forward(self, fused: Tensor, vi_rgb: Tensor) -> Tensor:
        """Give the fused image, R, G, B in [0, 1]."""
        if self.keep_grey is None or self.training:
            return fused
        grey = luminance(to_levels(at_least_float32(fused), self.keep_grey), 'round')
        return torch.where(grey_everywhere(vi_rgb), grey.expand_as(fused), fused)


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
