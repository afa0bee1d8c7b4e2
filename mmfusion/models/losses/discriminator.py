"""Discriminators: networks that tell source images from fused ones."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.registry import MODELS

CRITERIA = ('lsgan', 'vanilla', 'hinge', 'wgan')


@MODELS.register_module()
class Discriminator(nn.Module):
    """Tell real images from fused ones by a small convolutional network.

    Each layer is a 3×3 convolution of stride 2 with LeakyReLU; the mean over the last map is the score of an image.

    ``criterion``, with real scores r and fake scores f: ``'lsgan'``, (r − a)² + (f − b)² and, to fool, (f − c)², with
    ``labels`` (a, b, c); a label may be a range (low, high) from which each image draws (FusionGAN); ``'vanilla'``, binary
    cross entropy; ``'hinge'``, max(0, 1 − r) + max(0, 1 + f) and −f; ``'wgan'``, f − r with a gradient penalty and −f.

    Args:
        in_channels: Channels of the images.
        channels: Channels of the layers.
        criterion: See above.
        labels: a, b, c of ``'lsgan'``.
        penalty: Weight of the gradient penalty of ``'wgan'``, (‖∇‖₂ − 1)² between real and fake images.
        loss_weight: Factor on the adversarial loss of the fusion network.

    Raises:
        ValueError: If the criterion is unknown.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        criterion: str = 'lsgan',
        labels: tuple = (1.0, 0.0, 1.0),
        penalty: float = 10.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ValueError(f'criterion must be one of {", ".join(CRITERIA)}, got {criterion!r}')
        widths = (in_channels, *channels)
        layers = [(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.LeakyReLU(0.2)) for i, o in pairwise(widths)]
        self.layers = nn.Sequential(*(layer for pair in layers for layer in pair))
        self.score = nn.Linear(widths[-1], 1)
        self.criterion, self.labels, self.penalty, self.loss_weight = criterion, tuple(labels), penalty, loss_weight

    def forward(self, image: Tensor) -> Tensor:
        """Score N×C×H×W images; N values, float32."""
        return self.score(self.layers(image).mean((2, 3)))[:, 0].float()

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the discriminator's own loss of N×C×H×W real and fake images."""
        r, f = self(real), self(fake)
        if self.criterion == 'lsgan':
            return (r - self._label(0, r)).square().mean() + (f - self._label(1, f)).square().mean()
        if self.criterion == 'vanilla':
            return (F.softplus(-r) + F.softplus(f)).mean()
        if self.criterion == 'hinge':
            return (F.relu(1 - r) + F.relu(1 + f)).mean()
        return (f - r).mean() + self.penalty * self._gradient_penalty(real, fake)

    def fool(self, fake: Tensor) -> Tensor:
        """Compute the fusion network's adversarial loss of N×C×H×W fake images."""
        f = self(fake)
        if self.criterion == 'lsgan':
            return self.loss_weight * (f - self._label(2, f)).square().mean()
        if self.criterion == 'vanilla':
            return self.loss_weight * F.softplus(-f).mean()
        return -self.loss_weight * f.mean()

    def _label(self, which: int, scores: Tensor) -> Tensor | float:
        label = self.labels[which]
        if isinstance(label, int | float):
            return float(label)
        return torch.empty_like(scores).uniform_(*label)

    def _gradient_penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fake).requires_grad_()
        gradient = torch.autograd.grad(self(between).sum(), between, create_graph=True)[0]
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
