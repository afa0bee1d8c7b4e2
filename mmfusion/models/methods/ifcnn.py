"""IFCNN: a general fusion network from colours to colours.

Zhang, Liu, Sun, Yan, Zhao, Zhang: "IFCNN: A General Image Fusion Framework Based on Convolutional Neural Network",
Information Fusion 54, 2020.

The first convolution of a ResNet101, kept as ImageNet taught it, and a second one for each image; an element-wise rule
(maximum for infrared and visible images); a third convolution and a 1×1 one to colours.

The public code (uzeful/IFCNN, 8fe59c2) has no training. It builds a ResNet101 and takes its first convolution, whose
weights are in the published files, too. Its demo normalises by ImageNet's mean and standard deviation, but not infrared
and visible images; those that the VIFB benchmark published are normalised, which is the default of the configs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.registry import MODELS

RULES = {'max': torch.maximum, 'sum': torch.add, 'mean': lambda a, b: (a + b) / 2}


def block(channels: int) -> nn.Sequential:
    """Build a 3×3 convolution on repeated borders with BN and ReLU."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, padding_mode='replicate', bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


@MODELS.register_module()
class IFCNN(BaseModule):
    """Network of IFCNN.

    Args:
        rule: ``'max'``, ``'sum'`` or ``'mean'``: each has its own published weights.
        channels: Channels of the features; ResNet's 64.
        mean, std: Of R, G and B in [0, 1]: both images are normalised by them, and the fused one brought back. By default
            they stay as they are.
        init_cfg: As in mmengine.

    Raises:
        ValueError: If the rule is unknown, or ``mean`` and ``std`` are not three numbers each.
    """

    def __init__(
        self,
        rule: str = 'max',
        channels: int = 64,
        mean: Sequence[float] = (0, 0, 0),
        std: Sequence[float] = (1, 1, 1),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if rule not in RULES:
            raise ValueError(f'rule must be one of {", ".join(RULES)}, got {rule!r}')
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f'mean and std: expected three numbers each, std above 0, got {mean} and {std}')
        self.rule = rule
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.first = nn.Conv2d(3, channels, 7, padding=3, padding_mode='replicate', bias=False)
        self.first.requires_grad_(False)  # fixed, as ImageNet taught it
        self.second, self.third = block(channels), block(channels)
        self.last = nn.Conv2d(channels, 3, 1)

    def forward(self, vi_rgb: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×3×H×W colours and N×1×H×W infrared images, repeated to three channels; N×3×H×W."""
        a, b = ((x - self.mean) / self.std for x in (vi_rgb, ir.expand(-1, 3, -1, -1)))
        a, b = self.first(a), self.first(b)
        a, b = self.second(a), self.second(b)
        return self.last(self.third(RULES[self.rule](a, b))) * self.std + self.mean

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the public names."""
        parts = ('weight', 'bias', 'running_mean', 'running_var')
        out = {'first.weight': state['conv1.weight']}
        for ours, theirs in (('second', 'conv2'), ('third', 'conv3')):
            out[f'{ours}.0.weight'] = state[f'{theirs}.conv.weight']
            out.update({f'{ours}.1.{p}': state[f'{theirs}.bn.{p}'] for p in parts})
            # Files of early PyTorch have no counter.
            out[f'{ours}.1.num_batches_tracked'] = torch.zeros((), dtype=torch.int64)
        return {**out, 'last.weight': state['conv4.weight'], 'last.bias': state['conv4.bias']}


@MODELS.register_module()
class IFCNNLoss(nn.Module):
    """Compare the fused image with a target: the basic loss, MSE.

    Its perceptual loss needs a ResNet101 and is not here. The paper trains on multi-focus pairs with a known target; without
    one the larger of both sources stands for it.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused_rgb: Tensor, vi_rgb: Tensor, ir: Tensor, target_rgb: Tensor | None = None) -> Tensor:
        """Compare N×3×H×W images in [0, 1]."""
        target = torch.maximum(vi_rgb, ir) if target_rgb is None else target_rgb
        return self.loss_weight * F.mse_loss(fused_rgb, target)
