"""Losses of auto-encoders."""

from kornia.losses import ssim_loss
from torch import Tensor, nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class ReconstructionLoss(nn.Module):
    """Compare an image with an auto-encoder's: MSE + w (1 − SSIM) / 2.

    Args:
        ssim_weight: w.
        window: Side of SSIM's Gaussian window (σ = 1.5).
        scale: Factor on the images in the mean squared error, for recipes on images in 0…255.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self, ssim_weight: float = 5.0, window: int = 11, scale: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.ssim_weight, self.window, self.scale, self.loss_weight = ssim_weight, window, scale, loss_weight

    def forward(self, vi: Tensor, vi_hat: Tensor) -> Tensor:
        """Compare N×C×H×W images in [0, 1]."""
        pixel = (self.scale * (vi_hat - vi)).square().mean()
        return self.loss_weight * (pixel + self.ssim_weight * ssim_loss(vi_hat, vi, self.window))
