"""Two phases: first decompose and reconstruct each image, without a fused one; then fuse (as CDDFuse trains)."""

import torch
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class DecompositionNet(nn.Module):
    """Split both images into base and detail features, and decode their sum."""

    def __init__(self, channels=8):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(1, channels, 5, padding=2), nn.Tanh())
        self.detail = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.Tanh())
        self.fuse = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.decoder = nn.Conv2d(2 * channels, 1, 3, padding=1)

    def encode(self, x):
        return torch.cat([self.base(x), self.detail(x)], dim=1)

    def decompose(self, vi, ir):
        """Reconstruct both images: the phase before any fusion."""
        z_vi, z_ir = self.encode(vi), self.encode(ir)
        return dict(z_vi=z_vi, z_ir=z_ir, vi_hat=self.decoder(z_vi), ir_hat=self.decoder(z_ir))

    def forward(self, vi, ir):
        z_vi, z_ir = self.encode(vi), self.encode(ir)
        return dict(z_vi=z_vi, z_ir=z_ir, fused=self.decoder(self.fuse(z_vi + z_ir)))


@MODELS.register_module()
class PairReconstructionLoss(nn.Module):
    """Mean squared error of both reconstructions."""

    def forward(self, vi, ir, vi_hat, ir_hat):
        return (vi_hat - vi).square().mean() + (ir_hat - ir).square().mean()


@MODELS.register_module()
class DecompositionLoss(nn.Module):
    """Let base features of both images agree, and detail features differ: |base difference| / (|detail difference| + 1)."""

    def forward(self, z_vi, z_ir):
        (base_vi, detail_vi), (base_ir, detail_ir) = z_vi.chunk(2, 1), z_ir.chunk(2, 1)
        return (base_vi - base_ir).abs().mean() / ((detail_vi - detail_ir).abs().mean() + 1)
