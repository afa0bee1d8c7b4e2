"""Losses on pixels: intensity, texture, structure."""

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import sobel, sobel_magnitude
from mmfusion.registry import MODELS


@MODELS.register_module()
class SSIMLoss(nn.Module):
    """Structural loss, OCCO eq. 15: (1 − SSIM(f, vi)) + (1 − SSIM(f, ir)); 0 to 4.

    GFFusion's eq. 10 halves both: ``loss_weight=0.5``.

    SSIM (Wang et al., 2004) with an 11×11 Gaussian window of σ 1.5, C1 = 0.01², C2 = 0.03², range 1, averaged over the map.

    Args:
        loss_weight: Factor on the loss.
        padding: Pad by zeros so that the map is as large as the image (OCCO's public code), instead of only the places
            where the window fits.
    """

    def __init__(self, loss_weight: float = 1.0, padding: bool = True) -> None:
        super().__init__()
        self.loss_weight, self.padding = loss_weight, padding

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the loss of N×1×H×W images in [0, 1].

        Raises:
            ValueError: If an image is smaller than the window, without padding.
        """
        if not self.padding and min(fused.shape[2:]) < 11:
            raise ValueError(
                f'SSIMLoss: images of {tuple(fused.shape[2:])} are smaller than its 11×11 window; use padding=True'
            )
        pad = 5 if self.padding else 0
        # Both comparisons in one pass: SSIM is symmetric, and the window runs once over a batch of two.
        f = F.pad(fused, (pad,) * 4).repeat(2, 1, 1, 1)
        sources = F.pad(torch.cat([vi, ir]), (pad,) * 4)
        return self.loss_weight * 2 * (1 - ssim(f, sources, data_range=1.0, win_size=11, win_sigma=1.5))


@MODELS.register_module()
class MaskedIntensityLoss(nn.Module):
    """Intensity loss, OCCO eq. 17: mean((f − vi)²) + mean(M · |f − ir|).

    M = 1 where ir > vi (eq. 16); ``loss_weight`` is ω4.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the loss of N×1×H×W images in [0, 1]."""
        infrared = torch.where(ir > vi, (fused - ir).abs(), 0)
        return self.loss_weight * (F.mse_loss(fused, vi) + infrared.mean())


@MODELS.register_module()
class MaxIntensityLoss(nn.Module):
    """Pixel intensity loss ℓ_i of MGFusion (section 3.3): mean |f − max(ir, vi)|."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the loss of N×1×H×W images in [0, 1]."""
        return self.loss_weight * F.l1_loss(fused, torch.maximum(vi, ir))


@MODELS.register_module()
class TextureLoss(nn.Module):
    """Texture loss: mean | |∇f| − max(|∇vi|, |∇ir|) | with Sobel gradients.

    OCCO's eq. 18, the second term of GFFusion's eq. 10 (its factor β is ``loss_weight``), and MGFusion's ℓ_g.

    Args:
        loss_weight: Factor on the loss.
        separate: Compare |∂x| and |∂y| each for itself and add both (OCCO's public code), instead of the magnitude |∇|.
        padding_mode: Border of the Sobel operator.
        norm: The magnitude, of ``separate=False``: 1 for |∂x| + |∂y|, 2 for √(∂x² + ∂y²).
        gain: Factor on the sources' gradients; above 1 the fused image is somewhat sharper than they are.

    Raises:
        ValueError: If the norm is neither 1 nor 2.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        separate: bool = True,
        padding_mode: str = 'zeros',
        norm: int = 1,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if norm not in (1, 2):
            raise ValueError(f'norm must be 1 or 2, got {norm!r}')
        self.loss_weight, self.separate, self.padding_mode, self.norm = loss_weight, separate, padding_mode, norm
        self.gain = gain

    def _gradients(self, x: Tensor) -> Tensor:
        if self.separate:
            return torch.cat([g.abs() for g in sobel(x, self.padding_mode)], dim=1)
        return sobel_magnitude(x, self.norm, self.padding_mode)

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the loss of N×1×H×W images in [0, 1]."""
        target = torch.maximum(self._gradients(vi), self._gradients(ir))
        target = target if self.gain == 1 else self.gain * target
        difference = (self._gradients(fused) - target).abs()
        return self.loss_weight * difference.sum(1).mean()


@MODELS.register_module()
class UndershootLoss(nn.Module):
    """Keep dark lines out of places where neither source has one.

    mean max(0, E(max(vi, ir)) − t − f), with E the least value within ``radius`` pixels (erosion). Where the sources' edges
    oppose, as around warm roads in a bright field, a texture loss asks for a line that is darker than both sides.

    Args:
        loss_weight: Factor on the loss.
        radius: Half the side of the square, in pixels.
        tolerance: t, in the images' range of 1; what is darker by less costs nothing.
    """

    def __init__(self, loss_weight: float = 1.0, radius: int = 3, tolerance: float = 0.0) -> None:
        super().__init__()
        self.loss_weight, self.radius, self.tolerance = loss_weight, radius, tolerance

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the loss of N×1×H×W images in [0, 1]; 0 for max(vi, ir)."""
        # Pads by −∞, which no maximum takes: borders see their own neighbours alone.
        floor = -F.max_pool2d(-torch.maximum(vi, ir), 2 * self.radius + 1, stride=1, padding=self.radius)
        return self.loss_weight * F.relu(floor - self.tolerance - fused).mean()


@MODELS.register_module()
class DifferenceCorrelationLoss(nn.Module):
    """Take from one source what the other lacks; 0 to 4.

    2 − r(f − ir, vi) − r(f − vi, ir), with r the correlation of two images; the sum of both is the metric SCD (Aslantas and
    Bendes, 2015), image by image.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: torch.Tensor, vi: torch.Tensor, ir: torch.Tensor) -> torch.Tensor:
        """Compute the loss of N×1×H×W images; constant ones correlate by 0."""
        return self.loss_weight * (2 - correlation(fused - ir, vi) - correlation(fused - vi, ir)).mean()


def correlation(a: torch.Tensor, b: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """Correlate two N×C×H×W images; N values, −1 to 1.

    ``eps`` is added to the product of variances: the gradient of a nearly constant image stays finite.
    """
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).mean(1) / (a.square().mean(1) * b.square().mean(1) + eps).sqrt()
