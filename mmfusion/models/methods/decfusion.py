"""DECFusion: illumination and reflectance of either image, and the larger of each.

Xiao, Jin, Su and others: "DECFusion: A Lightweight Decomposition Fusion Method for Luminance Artifact Removal in
Infrared and Visible Images", 2024–2025; the public code names neither a journal nor all authors.

Two small networks decompose an image as Retinex has it, X = L ⊙ R; the same two serve both images. The fused image is
max(L_vi, L_ir) ⊙ max(R_vi, R_ir).

The public code (tianzhiya/DECFusion, 4d5bfb0) has a third network, for noise, in its files that it never calls; and a
term of its loss, ‖x − x‖² between an image and itself, that nothing learns from.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.registry import MODELS


def convolutions(channels: int, depth: int) -> nn.Sequential:
    """Make 3×3 convolutions with reflected borders, ReLU between them, and Sigmoid behind."""
    layers = []
    for before, after in pairwise([1, *[channels] * (depth - 1), 1]):
        layers += [nn.Conv2d(before, after, 3, padding=1, padding_mode='reflect'), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


@MODELS.register_module()
class DECFusion(nn.Module):
    """DECFusion: a network for illumination, one for reflectance, and maxima.

    Args:
        channels: Width of both networks.
        depth: Convolutions of each.
    """

    min_size = 2

    def __init__(self, channels: int = 64, depth: int = 5) -> None:
        super().__init__()
        self.illumination, self.reflectance = convolutions(channels, depth), convolutions(channels, depth)

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images; also gives illumination and reflectance of both."""
        out = {}
        for name, image in (('vi', vi), ('ir', ir)):
            out[f'illumination_{name}'], out[f'reflectance_{name}'] = self.illumination(image), self.reflectance(image)
        light, surface = (
            torch.maximum(out[f'{part}_vi'], out[f'{part}_ir']) for part in ('illumination', 'reflectance')
        )
        return dict(fused=light * surface, **out)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; its noise network is dropped."""
        parts = dict(L_net='illumination', R_net='reflectance')
        renamed = {}
        for name, value in state.items():
            part, _, place, kind = name.split('.')
            if part != 'N_net':  # convolutions are there at 1, 4, 7 …, each behind its reflection
                renamed[f'{parts[part]}.{2 * (int(place) - 1) // 3}.{kind}'] = value
        return renamed


@MODELS.register_module()
class RetinexLoss(nn.Module):
    """DECFusion's loss of decompositions into illumination and reflectance.

    Σ_x ‖L R − x‖² + ‖R − x/L‖² + ‖L − max_c x‖² + |∂L|. L is not learned in the second term; max_c is the maximum over R,
    G, B; ∂ are differences over two pixels.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        illumination_vi: Tensor,
        reflectance_vi: Tensor,
        illumination_ir: Tensor,
        reflectance_ir: Tensor,
        vi: Tensor,
        ir: Tensor,
        vi_rgb: Tensor,
    ) -> Tensor:
        """Compare decompositions N×1×H×W with images in [0, 1]."""
        brightest = vi_rgb.amax(1, keepdim=True)
        loss = self.decomposition(illumination_vi, reflectance_vi, vi, brightest)
        return self.loss_weight * (loss + self.decomposition(illumination_ir, reflectance_ir, ir, ir))

    @staticmethod
    def decomposition(light: Tensor, surface: Tensor, image: Tensor, brightest: Tensor) -> Tensor:
        """Compute the terms of one image."""
        smooth = (light[..., 2:, :] - light[..., :-2, :]).abs().mean() + (light[..., 2:] - light[..., :-2]).abs().mean()
        made = F.mse_loss(light * surface, image) + F.mse_loss(surface, image / light.detach())
        return made + F.mse_loss(light, brightest) + smooth
