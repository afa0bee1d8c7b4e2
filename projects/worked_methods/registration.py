"""A network that warps the infrared image before it fuses; losses and metrics see the warped one (as SuperFusion's)."""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class RegistrationNet(nn.Module):
    """Shift the infrared image by a learned number of pixels, and average."""

    def __init__(self, shift=(1.0, 0.0)):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, vi, ir):
        height, width = ir.shape[2:]
        theta = torch.eye(2, 3, device=ir.device).repeat(len(ir), 1, 1)
        size = self.shift.new_tensor([width, height])
        theta = torch.cat([theta[:, :, :2], theta[:, :, 2:] + (2 * self.shift / size)[:, None]], dim=2)
        grid = F.affine_grid(theta, list(ir.shape), align_corners=False)
        warped = F.grid_sample(ir, grid, padding_mode='border', align_corners=False)
        return dict(fused=(vi + warped) / 2, ir=warped)
