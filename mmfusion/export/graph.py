"""A fuser as one function of two images."""

import torch
from torch import Tensor, nn

from mmfusion.models.fusers import ImageFuser


class FusionGraph(nn.Module):
    """Fuse one pair, from the sources' pixels to the fused ones.

    Colour, input range, output steps, padding and rounding are those of :meth:`ImageFuser.run`, so that a graph computes
    what the method does in PyTorch.

    Args:
        fuser: In eval mode.
        eight_bits: Take and give uint8 in 0…255; otherwise float32 in [0, 1], of which ``test_cfg.rounding`` is left out.

    Raises:
        ValueError: If the fuser fuses window by window, or resizes images outside of PyTorch.
    """

    def __init__(self, fuser: ImageFuser, eight_bits: bool = True) -> None:
        super().__init__()
        if fuser.test_cfg['mode'] == 'slide':
            raise ValueError(
                "test_cfg.mode='slide' fuses window by window, and a graph whole images: export with "
                '--cfg-options model.test_cfg.mode=whole.'
            )
        if fuser.resize:
            raise ValueError(
                f'test_cfg.resize={tuple(fuser.resize)}: the images are resized at 8 bits by Pillow, which no graph holds. '
                'Export with --cfg-options model.test_cfg.resize=None, which fuses at the size of the images.'
            )
        self.fuser, self.eight_bits = fuser.eval(), eight_bits

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse 1×3×H×W and 1×1×H×W to 1×3×H×W, uint8 or in [0, 1]."""
        if not self.eight_bits:
            return self.unrounded(vi, ir)
        fused = self.fuser.run(vi.float() / 255, ir.float() / 255)['fused_rgb']
        return (fused.clamp(0, 1) * 255).round().to(torch.uint8)

    def unrounded(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse images in [0, 1]; without ``test_cfg.rounding``, which writing to 8 bits would apply."""
        rounding, self.fuser.rounding = self.fuser.rounding, 'round'
        try:
            return self.fuser.run(vi, ir)['fused_rgb'].float()
        finally:
            self.fuser.rounding = rounding

    @property
    def least(self) -> int:
        """Give the least height and width that network and ``size_divisor`` allow."""
        return max(getattr(self.fuser.network, 'min_size', 1), self.fuser.size_divisor)
