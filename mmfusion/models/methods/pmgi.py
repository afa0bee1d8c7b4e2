"""PMGI: a fast unified network that holds gradient and intensity in proportion.

*Rethinking the Image Fusion: A Fast Unified Image Fusion Network based on Proportional Maintenance of Gradient and
Intensity*; Zhang, Xu, Xiao, Guo, Ma; AAAI 2020.

Two paths of four convolutions, one that is given more of the infrared and one that is given more of the visible image,
which hand features to each other; a 1×1 convolution over the features of all layers gives the fused image. The loss holds
intensities and gradients of both sources in fixed proportions.

Of the public code (HaoZhang1018/PMGI_AAAI2020, folder ``IR_VI``), beside what the paper says:

- the second transfer between the paths goes into the fourth layer without the first one;
- the test script takes the weights of the convolutions alone from the checkpoint: scale and shift of batch norm, though
  learned, stay behind, and each image is normalised by its own mean and variance (``variant``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import laplacian
from mmfusion.registry import MODELS

_PATHS = ('ir', 'vi')


@MODELS.register_module()
class PMGI(nn.Module):
    """Fuse by two paths that hand features to each other.

    Args:
        channels: Of every layer of a path.
        variant: What batch norm does in a test. ``'official'``: normalise each image by its own statistics, without
            scale and shift, as the public test script does. ``'paper'``: usual batch norm, by the statistics of training.

    Raises:
        ValueError: If the variant is unknown.
    """

    min_size = 2  # a single pixel has no statistics of its own

    def __init__(self, channels: int = 16, variant: str = 'official') -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        self.variant = variant
        c = channels
        # layer → input channels, kernel; `2to3` and `3to4` hand features from path to path.
        shapes = {'1': (3, 5), '2': (c, 3), '2to3': (2 * c, 1), '3': (3 * c, 3), '3to4': (2 * c, 1), '4': (4 * c, 3)}
        self.conv = nn.ModuleDict(
            {
                f'{path}{k}': nn.Conv2d(cin, c, size, padding='same')
                for path in _PATHS
                for k, (cin, size) in shapes.items()
            }
        )
        self.norm = nn.ModuleDict({name: nn.BatchNorm2d(c, eps=1e-5, momentum=0.1) for name in self.conv})
        self.fuse = nn.Conv2d(8 * c, 1, 1)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [-1, 1] to N×1×H×W in [-1, 1]."""
        one = [self.layer(f'{path}1', x) for path, x in (('ir', (ir, ir, vi)), ('vi', (vi, vi, ir)))]
        two = [self.layer(f'{path}2', (x,)) for path, x in zip(_PATHS, one, strict=True)]
        transfer = [self.layer(f'{path}2to3', two) for path in _PATHS]
        three = [self.layer(f'{path}3', x) for path, *x in zip(_PATHS, one, two, transfer, strict=True)]
        transfer = [self.layer(f'{path}3to4', three) for path in _PATHS]
        four = [self.layer(f'{path}4', x) for path, *x in zip(_PATHS, one, two, three, transfer, strict=True)]
        return torch.tanh(self.fuse(torch.cat([*one, *two, *three, *four], 1)))

    def layer(self, name: str, features: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        """Convolve concatenated features, normalise, apply LeakyReLU."""
        x, norm = self.conv[name](torch.cat(list(features), 1)), self.norm[name]
        if self.training or self.variant == 'paper':
            x = norm(x)
        else:
            x = F.instance_norm(x, eps=norm.eps)
        return F.leaky_relu(x, 0.2)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW."""
        last = 'fusion_model/layer5'
        ours = {'fuse.weight': state[f'{last}/w5'].permute(3, 2, 0, 1), 'fuse.bias': state[f'{last}/b5']}
        norm = dict(weight='gamma', bias='beta', running_mean='moving_mean', running_var='moving_variance')
        for path, suffix in (('ir', ''), ('vi', '_vi')):
            for layer in ('1', '2', '2to3', '3', '3to4', '4'):
                name = layer.replace('to', '_') + suffix
                scope = f'fusion_model/layer{name}'
                ours[f'conv.{path}{layer}.weight'] = state[f'{scope}/w{name}'].permute(3, 2, 0, 1)
                ours[f'conv.{path}{layer}.bias'] = state[f'{scope}/b{name}']
                ours |= {f'norm.{path}{layer}.{k}': state[f'{scope}/BatchNorm/{v}'] for k, v in norm.items()}
                ours[f'norm.{path}{layer}.num_batches_tracked'] = torch.tensor(0)
        return ours


@MODELS.register_module()
class PMGILoss(nn.Module):
    """Compute PMGI's loss: intensities and gradients of both sources in proportion.

    Σ_k λ_int,k mean (f − I_k)² + λ_grad,k mean (∇f − ∇I_k)², ∇ being the Laplacian of four neighbours.

    Args:
        intensity: Weights of the visible and of the infrared image's intensity.
        gradient: Weights of the visible and of the infrared image's gradient.
        loss_weight: Factor on the loss. The public code has 100 on images in [-1, 1], which is 400 on images in [0, 1].
    """

    def __init__(
        self,
        intensity: tuple[float, float] = (0.3, 1.0),
        gradient: tuple[float, float] = (5.0, 4.0),
        loss_weight: float = 400.0,
    ) -> None:
        super().__init__()
        self.intensity, self.gradient, self.loss_weight = intensity, gradient, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and its terms."""
        edges = laplacian(fused)
        intensity = sum(w * F.mse_loss(fused, x) for w, x in zip(self.intensity, (vi, ir), strict=True))
        gradient = sum(w * F.mse_loss(edges, laplacian(x)) for w, x in zip(self.gradient, (vi, ir), strict=True))
        terms = dict(intensity=intensity.detach(), gradient=gradient.detach())
        return self.loss_weight * (intensity + gradient), terms
