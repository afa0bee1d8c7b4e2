"""FusionGAN: A generative adversarial network for infrared and visible image fusion.

Ma, Yu, Liang, Li, Jiang; Information Fusion 48, 2019.

The first adversarial fusion network: five convolutions keep the infrared intensities and the visible gradients, and a
discriminator that tells fused from visible images adds the visible details that gradients do not hold.

Of the public code (jiayi-ma/FusionGAN), beside what the paper says:

- convolutions of training are divided by their spectral norm. The test script takes them from the checkpoint as they are,
  and leaves scale and shift of batch norm behind: each image is normalised by its own mean and variance (``variant``);
- images have six more pixels at each side, copies of the border in tests, which the convolutions use up. In training these
  come from the image around a patch; here they are copies, too.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mmfusion.models.layers import laplacian
from mmfusion.models.losses import Discriminator
from mmfusion.registry import MODELS

_KERNELS = (5, 5, 3, 3, 1)


@MODELS.register_module()
class FusionGAN(nn.Module):
    """Fuse by five convolutions without padding.

    Args:
        channels: After each convolution but the last.
        variant: What happens in a test. ``'official'``: convolutions without their spectral norm, and each image normalised
            by its own statistics, without scale and shift, as in the public test script. ``'paper'``: as in training, with
            batch norm by the statistics of training.

    Raises:
        ValueError: If the variant is unknown.
    """

    min_size = 2  # a single pixel has no statistics of its own

    def __init__(self, channels: tuple[int, int, int, int] = (256, 128, 64, 32), variant: str = 'official') -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        self.variant = variant
        shapes = zip(pairwise((2, *channels, 1)), _KERNELS, strict=True)
        self.conv = nn.ModuleList(spectral_norm(nn.Conv2d(cin, cout, size)) for (cin, cout), size in shapes)
        self.norm = nn.ModuleList(nn.BatchNorm2d(c, eps=1e-5, momentum=0.1) for c in channels)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [-1, 1] to N×1×H×W in [-1, 1]."""
        border = sum(size // 2 for size in _KERNELS)
        x = F.pad(torch.cat([ir, vi], 1), (border,) * 4, mode='replicate')
        for conv, norm in zip(self.conv, self.norm, strict=False):
            x = F.leaky_relu(self._normalise(norm, self._convolve(conv, x)), 0.2)
        return torch.tanh(self._convolve(self.conv[-1], x))

    def _convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        if self.training or self.variant == 'paper':
            return conv(x)
        return F.conv2d(x, conv.parametrizations.weight.original, conv.bias)

    def _normalise(self, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        if self.training or self.variant == 'paper':
            return norm(x)
        return F.instance_norm(x, eps=norm.eps)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW.

        The discriminator's are left out.
        """
        ours = {}
        norm = dict(weight='gamma', bias='beta', running_mean='moving_mean', running_var='moving_variance')
        for k in range(5):
            scope = f'fusion_model/layer{k + 1}'
            weight = state[f'{scope}/w{k + 1}'].permute(3, 2, 0, 1)
            u = F.normalize(state[f'{scope}/weights_SN/u'][0], dim=0)
            ours |= {
                f'conv.{k}.bias': state[f'{scope}/b{k + 1}'],
                f'conv.{k}.parametrizations.weight.original': weight,
                f'conv.{k}.parametrizations.weight.0._u': u,
                f'conv.{k}.parametrizations.weight.0._v': F.normalize(weight.flatten(1).T @ u, dim=0),
            }
            if k < 4:
                ours |= {f'norm.{k}.{name}': state[f'{scope}/BatchNorm/{theirs}'] for name, theirs in norm.items()}
                ours[f'norm.{k}.num_batches_tracked'] = torch.tensor(0)
        return ours


@MODELS.register_module()
class FusionGANLoss(nn.Module):
    """Keep infrared intensities and visible gradients.

    mean (f − ir)² + ξ mean (∇f − ∇vi)², with ξ the option ``gradient`` and ∇ the Laplacian. ``loss_weight`` is λ: the
    public code has 100 on images in [-1, 1], which is 400 on images in [0, 1].
    """

    def __init__(self, gradient: float = 5.0, loss_weight: float = 400.0) -> None:
        super().__init__()
        self.gradient, self.loss_weight = gradient, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and its terms."""
        terms = dict(intensity=F.mse_loss(fused, ir), gradient=F.mse_loss(laplacian(fused), laplacian(vi)))
        total = terms['intensity'] + self.gradient * terms['gradient']
        return self.loss_weight * total, {name: value.detach() for name, value in terms.items()}


@MODELS.register_module()
class FusionGANDiscriminator(Discriminator):
    """Tell visible from fused patches by four convolutions, spectrally normed.

    Least squares with labels drawn for each patch: visible 0.7 to 1.2, fused 0 to 0.3, and 0.7 to 1.2 to fool it.

    Args:
        size: Height and width of the patches.
        channels: Of the convolutions.
        loss_weight: Factor on the adversarial loss of the fusion network.
    """

    def __init__(
        self, size: int = 120, channels: tuple[int, ...] = (32, 64, 128, 256), loss_weight: float = 1.0
    ) -> None:
        labels = ((0.7, 1.2), (0.0, 0.3), (0.7, 1.2))
        super().__init__(1, channels, criterion='lsgan', labels=labels, loss_weight=loss_weight)
        self.size = side = size
        layers = []
        for cin, cout in pairwise((1, *channels)):
            layers.append(spectral_norm(nn.Conv2d(cin, cout, 3, stride=2)))
            if cin > 1:
                layers.append(nn.BatchNorm2d(cout, eps=1e-5, momentum=0.1))
            layers.append(nn.LeakyReLU(0.2))
            side = (side - 3) // 2 + 1
        self.layers = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Linear(channels[-1] * side**2, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Score N×1×H×W patches in [0, 1]; N values.

        Raises:
            ValueError: If the patches are not of the size that the linear layer was built for.
        """
        if image.shape[2:] != (self.size, self.size):
            raise ValueError(
                f'FusionGANDiscriminator was built for {self.size}×{self.size} and got {tuple(image.shape[2:])}: give it '
                'the size of the training patches (size=…).'
            )
        return self.score(self.layers(2 * image - 1).flatten(1))[:, 0].float()
