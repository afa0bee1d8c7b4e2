"""UMF-CMGR: the fusion network of a method for misaligned pairs.

*Unsupervised Misaligned Infrared and Visible Image Fusion via Cross-Modality Image Generation and Registration*; Wang, Liu,
Fan, Liu; IJCAI 2022.

The method makes an infrared image of the visible one (CPSTN), registers the infrared image to it (MRRN) and fuses both
(DIFN). Here is DIFN, for registered pairs: for each source a convolution and a residual dense block; an interactive module
that gates both by their product; two convolutions.

Of the public code (wdhudiekou/UMF-CMGR): its MS-SSIM has the constants of images of 0 to 255 on images of 0 to 1, so that it
stays within a hundredth of 1; it is left out here.
"""

import torch
import torch.nn.functional as F
from kornia.filters import laplacian
from torch import Tensor, nn

from mmfusion.models.layers import visual_saliency
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def _conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1)


class ResidualDenseBlock(nn.Module):
    """Three dense convolutions, and a 1×1 one of all; added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(k * channels, channels, 3, padding=1, bias=False) for k in range(1, 4))
        self.merge = nn.Conv2d(4 * channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        features = x
        for layer in self.layers:
            features = torch.cat([features, F.relu(layer(features), inplace=True)], 1)
        return x + self.merge(features)


class InteractiveFusion(nn.Module):
    """Gate both sources' features by A = σ(Q ir ⊙ K vi).

    Each becomes γ₀ x + γ₁ (A ⊙ x), γ from both forms of x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = _conv(channels, channels), _conv(channels, channels)
        self.gate = nn.ModuleDict({name: _conv(2 * channels, 2) for name in ('ir', 'vi')})

    def forward(self, ir: Tensor, vi: Tensor) -> Tensor:
        """N×C×H×W each → N×2C×H×W."""
        attention = torch.sigmoid(self.query(ir) * self.key(vi))
        out = []
        for name, x in (('ir', ir), ('vi', vi)):
            attended = x * attention
            plain, gated = self.gate[name](torch.cat([x, attended], 1)).split(1, dim=1)
            out.append(x * plain + attended * gated)
        return torch.cat(out, 1)


@MODELS.register_module()
class UMFCMGR(nn.Module):
    """Fuse registered images by dense features and an interactive module.

    Args:
        channels: Of every convolution.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        c = channels
        self.encoder = nn.ModuleDict(
            {
                name: nn.Sequential(_conv(1, c), nn.LeakyReLU(0.2, inplace=True), ResidualDenseBlock(c))
                for name in ('ir', 'vi')
            }
        )
        self.fusion = InteractiveFusion(c)
        self.head = nn.Sequential(_conv(2 * c, c), _conv(c, 1), nn.Tanh())

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in (-1, 1)."""
        return self.head(self.fusion(self.encoder['ir'](ir), self.encoder['vi'](vi)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the parameters of the public code's fusion network."""
        names = {
            'fuse.query_conv': 'fusion.query',
            'fuse.key_conv': 'fusion.key',
            'fuse_res': 'head.0',
            'out_conv': 'head.1',
        }
        for k, name in ((1, 'ir'), (2, 'vi')):
            names |= {f'conv{k}_1.0': f'encoder.{name}.0', f'{name}_path.0': f'encoder.{name}.2'}
            names |= {f'fuse.gamma{k}': f'fusion.gate.{name}'}
        names |= {'dense_layers': 'layers', '.conv.weight': '.weight', 'conv_1x1': 'merge'}
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class UMFCMGRLoss(nn.Module):
    """Hold the image to the sources' mix, and the larger Laplacian.

    20 ‖f − (w ir + (1 − w) vi)‖₁ + 5 ‖ |Δf| − max(|Δir|, |Δvi|) ‖₁, w = (1 + S(ir) − S(vi)) / 2, S the visual saliency over
    its largest value.

    Args:
        intensity, gradient: Weights of the terms.
        loss_weight: Factor on the loss.
    """

    def __init__(self, intensity: float = 20.0, gradient: float = 5.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.intensity, self.gradient, self.loss_weight = intensity, gradient, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images in [0, 1]."""
        saliency_vi, saliency_ir = (visual_saliency(x, stretch=False) for x in (vi, ir))
        mix = torch.lerp(vi, ir, (1 + saliency_ir - saliency_vi) / 2)
        edges, edges_vi, edges_ir = (laplacian(x, 3).abs() for x in (fused, vi, ir))
        intensity = self.intensity * F.l1_loss(fused, mix)
        gradient = self.gradient * F.l1_loss(edges, torch.maximum(edges_vi, edges_ir))
        log = dict(intensity=intensity.detach(), gradient=gradient.detach())
        return self.loss_weight * (intensity + gradient), log
