"""DIDFuse: an auto-encoder that takes base and detail apart.

Zhao, Xu, Zhang, Liu, Li, Zhang: "DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion", IJCAI 2020.

An auto-encoder takes an image apart into base and detail features: in training, base features of both images are drawn
together and detail features apart, and each image is made again from its own. When it is tested, the features of both
images are added, those of the two skip connections too.

Differences in the public code (Zhaozixiang1228/IVIF-DIDFuse, 5f28730): mean absolute instead of squared differences of the
features, 0.5 as the weight of the detail term, 5 times kornia's (1 − SSIM) / 2 in the reconstruction.
"""

import torch
from kornia.filters import spatial_gradient
from kornia.losses import ssim_loss
from torch import Tensor, nn

from mmfusion.registry import MODELS

RULES = {'sum': torch.add, 'average': lambda a, b: (a + b) / 2}


def unit(cin: int, cout: int, act: nn.Module, reflect: bool = False) -> nn.Sequential:
    """Build a 3×3 convolution with BN and an activation."""
    conv = nn.Conv2d(cin, cout, 3, padding=1, padding_mode='reflect' if reflect else 'zeros')
    return nn.Sequential(conv, nn.BatchNorm2d(cout), act)


@MODELS.register_module()
class DIDFuse(nn.Module):
    """Network of DIDFuse.

    Args:
        channels: Channels of all features.
        rule: How features of both images are joined: ``'sum'`` or ``'average'``.

    Raises:
        ValueError: If the rule is unknown.
    """

    min_size = 2

    def __init__(self, channels: int = 64, rule: str = 'sum') -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f'rule must be one of {", ".join(RULES)}, got {rule!r}')
        self.rule, c = rule, channels
        self.first, self.second = unit(1, c, nn.PReLU(), reflect=True), unit(c, c, nn.PReLU())
        self.base, self.detail = unit(c, c, nn.Tanh()), unit(c, c, nn.Tanh())
        self.decoder = nn.ModuleList(
            [unit(2 * c, c, nn.PReLU()), unit(2 * c, c, nn.PReLU()), unit(2 * c, 1, nn.Sigmoid(), reflect=True)]
        )

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """N×1×H×W → features of both levels, base and detail, N×C×H×W each."""
        first = self.first(image)
        second = self.second(first)
        return first, second, self.base(second), self.detail(second)

    def decode(self, first: Tensor, second: Tensor, base: Tensor, detail: Tensor) -> Tensor:
        """Features → N×1×H×W in [0, 1]."""
        x = self.decoder[0](torch.cat([base, detail], dim=1))
        x = self.decoder[1](torch.cat([x, second], dim=1))
        return self.decoder[2](torch.cat([x, first], dim=1))

    def decompose(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Take both images apart and make them again, in training."""
        a, b = self.encode(vi), self.encode(ir)
        names = dict(base_vi=a[2], detail_vi=a[3], base_ir=b[2], detail_ir=b[3])
        return dict(names, vi_hat=self.decode(*a), ir_hat=self.decode(*b))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images."""
        return self.decode(*(RULES[self.rule](b, a) for a, b in zip(self.encode(vi), self.encode(ir), strict=True)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the names of the two files, ``Encoder_…`` and ``Decoder_…``."""
        units = {'cov1': 'first', 'cov2': 'second', 'cov3': 'base', 'cov4': 'detail'}
        units.update({f'cov{k + 5}': f'decoder.{k}' for k in range(3)})
        out = {}
        for name, value in state.items():
            _, unit_name, _, position, part = name.split('.')
            shift = 1 if unit_name in ('cov1', 'cov7') else 0  # a layer of their own pads there
            out[f'{units[unit_name]}.{int(position) - shift}.{part}'] = value
        return out


@MODELS.register_module()
class DIDFuseLoss(nn.Module):
    """Draw base features together, detail features apart, and make each image again.

    tanh|B_v − B_i| − α₁ tanh|D_v − D_i| + α₂ f(I) + α₃ f(V) + α₄ |∇V − ∇V̂|, f(X) = MSE + λ (1 − SSIM) / 2; α and λ of the
    public code.

    Args:
        alpha: α₁ … α₄.
        ssim_weight: λ.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self, alpha: tuple[float, ...] = (0.5, 2.0, 2.0, 10.0), ssim_weight: float = 5.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.alpha, self.ssim_weight, self.loss_weight = tuple(alpha), ssim_weight, loss_weight

    def forward(
        self,
        vi: Tensor,
        ir: Tensor,
        vi_hat: Tensor,
        ir_hat: Tensor,
        base_vi: Tensor,
        base_ir: Tensor,
        detail_vi: Tensor,
        detail_ir: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of images and features, and its logged terms."""
        terms = dict(
            base=(base_vi - base_ir).abs().mean().tanh(),
            detail=-self.alpha[0] * (detail_vi - detail_ir).abs().mean().tanh(),
            ir=self.alpha[1] * self._reconstruction(ir, ir_hat),
            vi=self.alpha[2] * self._reconstruction(vi, vi_hat),
            gradient=self.alpha[3] * (spatial_gradient(vi) - spatial_gradient(vi_hat)).abs().mean(),
        )
        return self.loss_weight * sum(terms.values()), {name: value.detach() for name, value in terms.items()}

    def _reconstruction(self, image: Tensor, again: Tensor) -> Tensor:
        return (image - again).square().mean() + self.ssim_weight * ssim_loss(image, again, 11)
