"""SDNet: A Versatile Squeeze-and-Decomposition Network for Real-Time Image Fusion.

Zhang, Ma; International Journal of Computer Vision 129, 2021.

Squeeze: two paths of four convolutions, one for each source, and a 1×1 convolution over all their features to the fused
image. Decomposition, in training: both sources are made from the fused image again, so that it has to hold both. At each
pixel the fused gradient follows the source with the stronger one.

Of the public code (HaoZhang1018/SDNet, folder ``IR_VIS``), beside what the paper says: which gradient is the stronger one
is decided on images smoothed by a 3×3 filter, by the absolute Laplacian; a tie goes to infrared.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import laplacian
from mmfusion.registry import MODELS


@MODELS.register_module()
class SDNet(nn.Module):
    """Squeeze two images into one; in training, take it apart again.

    Args:
        channels: Of every layer of the squeezing paths.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        c = channels
        self.squeeze = nn.ModuleDict(
            {
                source: nn.ModuleList(
                    [_conv(1, c, 5), _conv(c, c, 3), _conv(2 * c, c, 3), _conv(3 * c, c, 3)],
                )
                for source in ('vi', 'ir')
            }
        )
        self.fuse = _conv(8 * c, 1, 1)
        self.expand = _conv(1, 8 * c, 1)
        self.decompose = nn.ModuleDict(
            {
                source: nn.Sequential(
                    _conv(8 * c, c, 3), nn.LeakyReLU(0.2), _conv(c, c // 4, 3), nn.LeakyReLU(0.2), _conv(c // 4, 1, 3)
                )
                for source in ('vi', 'ir')
            }
        )

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images in [-1, 1].

        Returns:
            ``fused`` in [-1, 1]; in training also ``decomposed_vi`` and ``decomposed_ir``, the sources made from it.
        """
        levels = zip(self.path(ir, 'ir'), self.path(vi, 'vi'), strict=True)
        fused = torch.tanh(self.fuse(torch.cat([x for level in levels for x in level], 1)))
        out = dict(fused=fused)
        if self.training:
            features = F.leaky_relu(self.expand(fused), 0.2)
            out |= {f'decomposed_{source}': torch.tanh(part(features)) for source, part in self.decompose.items()}
        return out

    def path(self, x: Tensor, source: str) -> list[Tensor]:
        """Return the four layers' features, the last two densely joined."""
        first, second, *dense = self.squeeze[source]
        features = [F.leaky_relu(first(x), 0.2)]
        features.append(F.leaky_relu(second(features[0]), 0.2))
        for conv in dense:
            features.append(F.leaky_relu(conv(torch.cat(features, 1)), 0.2))
        return features

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW."""
        names = {'fuse': '5_fuse', 'expand': '6_sept'}
        for source in ('vi', 'ir'):
            names |= {f'squeeze.{source}.{k}': f'{k + 1}_{source}' for k in range(4)}
            names |= {f'decompose.{source}.{2 * k}': f'{7 + k}_{source}' for k in range(3)}
        weights = {
            f'{ours}.weight': state[f'fusion_model/layer{name}/w{name}'].permute(3, 2, 0, 1)
            for ours, name in names.items()
        }
        return weights | {f'{ours}.bias': state[f'fusion_model/layer{name}/b{name}'] for ours, name in names.items()}


@MODELS.register_module()
class SDNetLoss(nn.Module):
    """Compute SDNet's loss: intensity, gradient by an adaptive decision, and decomposition.

    Σ_k α_k mean (f − I_k)² + β Σ_k mean S_k (∇f − ∇I_k)² + γ Σ_k mean (I'_k − I_k)². ∇ is the Laplacian of four
    neighbours; S_vi is 1 where the visible image, smoothed, has the larger |∇|, and S_ir = 1 − S_vi. The published
    weights belong to images in [-1, 1], and the loss is taken there.

    Args:
        intensity: α of the visible and of the infrared image.
        gradient: β.
        decomposition: γ.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self,
        intensity: tuple[float, float] = (0.5, 1.0),
        gradient: float = 80.0,
        decomposition: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.intensity, self.gradient, self.decomposition = intensity, gradient, decomposition
        self.loss_weight = loss_weight
        edge, corner, centre = 0.1183, 0.0947, 0.1478  # a Gaussian, σ 1.5, rounded
        smooth = torch.tensor([[corner, edge, corner], [edge, centre, edge], [corner, edge, corner]])
        self.register_buffer('smooth', smooth[None, None], persistent=False)

    def forward(
        self, fused: Tensor, vi: Tensor, ir: Tensor, decomposed_vi: Tensor, decomposed_ir: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and its terms.

        Args:
            fused, vi, ir: N×1×H×W in [0, 1].
            decomposed_vi, decomposed_ir: N×1×H×W in [-1, 1], as the network gives them.
        """
        fused, vi, ir = (2 * x - 1 for x in (fused, vi, ir))
        strength = [laplacian(F.conv2d(x, self.smooth, padding=1)).abs() for x in (vi, ir)]
        follow_vi = (strength[0] > strength[1]).to(fused)
        error = [(laplacian(fused) - laplacian(x)).square() for x in (vi, ir)]
        terms = dict(
            intensity=sum(w * F.mse_loss(fused, x) for w, x in zip(self.intensity, (vi, ir), strict=True)),
            gradient=(follow_vi * error[0] + (1 - follow_vi) * error[1]).mean(),
            decomposition=F.mse_loss(decomposed_vi, vi) + F.mse_loss(decomposed_ir, ir),
        )
        total = terms['intensity'] + self.gradient * terms['gradient'] + self.decomposition * terms['decomposition']
        return self.loss_weight * total, {name: value.detach() for name, value in terms.items()}


def _conv(cin: int, cout: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, size, padding=size // 2)
