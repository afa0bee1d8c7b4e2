"""LUT-Fuse: fusion by a learned look-up table of four dimensions.

*LUT-Fuse: Towards Extremely Fast Infrared and Visible Image Fusion via Distillation to Learnable Look-Up Tables*; Yi, Zhang,
Xiang, Yan, Xu, Ma; ICCV 2025.

The fused luminance of a pixel is read, by linear interpolation, from a table at its visible luminance, the strength of the
visible gradient there, a context between 0 and 1 that a small network gives, and its infrared intensity. Cb and Cr are those
of the visible image. The table is distilled from images of a large network.

Of the public code (zyb5/LUT-Fuse): its test script shrinks images to multiples of 16, which nothing in the method needs;
the table goes beyond [0, 1] and is cut only after the colours are joined; in training, gradients are never set back, so that
each step goes by the sum of all before.
"""

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor, nn

from mmfusion.models.layers import exporting, not_zero, sobel_magnitude
from mmfusion.registry import MODELS

_BINS = 16


class ContextNet(nn.Module):
    """Give each pixel a context in (0, 1), from both images.

    Args:
        channels: Of its convolutions.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()

        def block(cin):
            act, norm = nn.LeakyReLU(0.2, inplace=True), nn.InstanceNorm2d(channels, affine=True)
            return [nn.Conv2d(cin, channels, 3, padding=1), act, norm]

        self.stem = nn.Sequential(*block(4))
        self.body = nn.Sequential(*(layer for _ in range(3) for layer in block(channels)))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(channels, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """N×4×H×W (R, G, B, infrared, 0 to 255) → N×1×H×W."""
        x = self.stem(x)
        return self.head(self.body(x) + x)


@MODELS.register_module()
class LUTFuse(nn.Module):
    """Fuse by a table over luminance, gradient, context and infrared.

    It begins as a mix of luminance and infrared, whose share is the context.

    Args:
        channels: Of the context network.
    """

    min_size = 2  # of a single pixel there are no statistics for instance norm

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        level = torch.arange(_BINS) * _BINS / 255
        start = torch.lerp(level[:, None, None, None], level, level[:, None])
        self.lut = nn.Parameter(start.expand(_BINS, _BINS, _BINS, _BINS).clone())
        self.context = ContextNet(channels)

    def forward(self, vi: Tensor, vi_rgb: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse to colour.

        Args:
            vi: Visible luminance, N×1×H×W in [0, 255].
            vi_rgb: N×3×H×W.
            ir: N×1×H×W.

        Returns:
            ``fused``, N×3×H×W, about [0, 1]; ``lut``, the table.
        """
        gradient = sobel_magnitude(vi / 255, norm=2)
        low, high = gradient.amin((2, 3), keepdim=True), gradient.amax((2, 3), keepdim=True)
        gradient = 255 * (gradient - low) / not_zero(high - low, 1e-8)
        context = 255 * self.context(torch.cat([vi_rgb, ir], 1))
        fused = self.look_up([x / _BINS for x in (vi, gradient, context, ir)])
        return dict(fused=_join(fused, vi_rgb / 255), lut=self.lut)

    def look_up(self, places: list[Tensor]) -> Tensor:
        """Read the table by linear interpolation.

        Args:
            places: One for each dimension, any shape, in [0, 16); beyond the last bin's centre its value stays.
        """
        table, floors = self.lut.flatten(), [place.detach().floor() for place in places]
        # In mixed precision the places are of less precision than the table.
        shares = [(place - floor).to(table.dtype) for place, floor in zip(places, floors, strict=True)]
        strides = [_BINS**k for k in reversed(range(len(places)))]
        bins = [
            floor.to(torch.int64 if exporting() else torch.int32) for floor in floors
        ]  # ONNX gathers by 64 bits alone
        below = [stride * number for stride, number in zip(strides, bins, strict=True)]
        above = [stride * (number + 1).clamp(max=_BINS - 1) for stride, number in zip(strides, bins, strict=True)]

        def read(dim, index):
            if dim == len(places):
                return table[index]
            return torch.lerp(read(dim + 1, index + below[dim]), read(dim + 1, index + above[dim]), shares[dim])

        return read(0, 0)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's files: table (``.npy``) and context network.

        Raises:
            ValueError: If there is not one table among them.
        """
        tables = [value for value in state.values() if value.ndim == 5]
        if len(tables) != 1:
            raise ValueError(f'LUTFuse: expected one table of 16×16×16×16×1, found {len(tables)}. Give both files.')
        names = {'input_layer.': 'context.stem.', 'mid_layer.': 'context.body.', 'output_layer.': 'context.head.'}
        renamed = {'lut': tables[0].squeeze(-1)}
        for name, value in state.items():
            for theirs, ours in names.items():
                if theirs in name:
                    renamed[ours + name.split(theirs)[1]] = value
        return renamed


def _join(y: Tensor, rgb: Tensor) -> Tensor:
    """Give a luminance an image's colours, by JPEG's coefficients; not clipped."""
    red, green, blue = rgb.split(1, dim=1)
    cb = -0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 0.5 * red - 0.418688 * green - 0.081312 * blue
    return torch.cat([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)


@MODELS.register_module()
class LUTFuseLoss(nn.Module):
    """Hold the image to a teacher's and the sources, the table smooth.

    ‖f − r‖₁ + (1 − SSIM(f, vi)) + (1 − SSIM(Y(f), ir)) + 10 M + 10⁻⁴ T. T is the mean squared difference of neighbouring
    entries, twice as heavy at both ends of a dimension; M the mean by which an entry is above the next; both summed over
    the four dimensions.

    Args:
        window: Of SSIM; a Gaussian of σ 1.5, only where it fits. The public code's is 48.
        loss_weight: Factor on the loss.
    """

    def __init__(self, window: int = 47, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.window, self.loss_weight = window, loss_weight

    def forward(
        self, fused_rgb: Tensor, fused: Tensor, vi_rgb: Tensor, ir: Tensor, reference: Tensor, lut: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare images in [0, 1].

        Args:
            fused_rgb, vi_rgb: N×3×H×W.
            fused, ir: N×1×H×W.
            reference: r, N×3×H×W, or its luminance, N×1×H×W, which is compared with ``fused``.
            lut: The table.
        """
        distance = F.l1_loss(fused_rgb if reference.shape[1] == 3 else fused, reference)
        options = dict(data_range=1.0, win_size=self.window, win_sigma=1.5)
        structure = 2 - ssim(fused_rgb, vi_rgb, **options) - ssim(fused, ir, **options)
        smooth, falling = 0.0, 0.0
        for dim in range(lut.ndim):
            step = lut.diff(dim=dim)
            weight = step.new_ones(step.shape[dim])
            weight[[0, -1]] = 2
            smooth = smooth + (step.square().movedim(dim, -1) * weight).mean()
            falling = falling + F.relu(-step).mean()
        log = dict(distance=distance, structure=structure, smooth=smooth, falling=falling)
        loss = distance + structure + 10 * falling + 1e-4 * smooth
        return self.loss_weight * loss, {name: value.detach() for name, value in log.items()}
