"""TarDAL: target-aware dual adversarial learning, here without its detector.

*Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality Benchmark to Fuse Infrared and Visible for
Object Detection*; Liu, Fan, Huang, Wu, Liu, Zhong, Luo; CVPR 2022.

A densely connected generator and two discriminators: one sees infrared and fused targets, the other gradients of the
visible and of the fused image. Here is what the paper calls direct training (DT), without the detector; the weights of
task-oriented and cooperative training (TT, CT) have the same network.

Of the public code (JinyuanLiu-CV/TarDAL, version 1), beside what the paper says:

- the source loss is the MS-SSIM and L1 of Zhao et al. (2015), to either source with the mean of its VGG16 features as
  weight; version 0 has 0.01 SSIM + 0.99 L1;
- the mask of the detail discriminator is switched off; the adversarial loss begins after ten epochs;
- both discriminators have the Wasserstein divergence (WGAN-div, k = 2, p = 6).
"""

import torch
import torch.nn.functional as F
from kornia.filters import sobel
from kornia.losses import MS_SSIMLoss
from torch import Tensor, nn

from mmfusion.models.losses import Discriminator
from mmfusion.models.priors import PriorHolder
from mmfusion.registry import MODELS


@MODELS.register_module()
class TarDAL(nn.Module):
    """Fuse by a dense block and four convolutions.

    Args:
        channels: Of the first convolution and of each dense layer.
        depth: Number of dense layers.
        use_eval: Whether batch norm uses the statistics of training in tests, or those of each image. The authors' files
            have a key of this name; it is False for the weights of version 0.
    """

    def __init__(self, channels: int = 32, depth: int = 3, use_eval: bool = True) -> None:
        super().__init__()
        self.use_eval = use_eval
        c = channels
        self.encoder = _layer(2, c)
        self.dense = nn.ModuleList(_layer((k + 1) * c, c) for k in range(depth))
        self.decoder = nn.Sequential(
            _layer((depth + 1) * c, 4 * c, norm=False),
            _layer(4 * c, 2 * c),
            _layer(2 * c, c),
            nn.Conv2d(c, 1, 3, padding=1),
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in [-1, 1], trained to be in [0, 1]."""
        x = self._run(self.encoder, torch.cat([ir, vi], 1))
        for layer in self.dense:
            x = torch.cat([x, self._run(layer, x)], 1)
        for layer in self.decoder[:-1]:
            x = self._run(layer, x)
        return torch.tanh(self.decoder[-1](x))

    def _run(self, layer: nn.Sequential, x: Tensor) -> Tensor:
        for part in layer:
            if isinstance(part, nn.BatchNorm2d) and not (self.training or self.use_eval):
                x = F.instance_norm(x, weight=part.weight, bias=part.bias, eps=part.eps)
            else:
                x = part(x)
        return x

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the generator's parameters; those of discriminators and detector are left out."""
        if any(name.startswith('fuse.encoder.') for name in state):  # the file holds more than the generator
            state = {name.removeprefix('fuse.'): value for name, value in state.items() if name.startswith('fuse.')}
        ours = {}
        for name, value in state.items():
            part, _, rest = name.partition('.')
            if part not in ('encoder', 'dense', 'fuse'):
                raise KeyError(f'{name}: not a parameter of TarDAL')
            # The last convolution stands alone here, without its Tanh.
            ours[f'decoder.{rest}'.replace('decoder.3.0.', 'decoder.3.') if part == 'fuse' else name] = value
        return ours


def _layer(cin: int, cout: int, norm: bool = True) -> nn.Sequential:
    norms = [nn.BatchNorm2d(cout)] if norm else []
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), *norms, nn.ReLU(inplace=True))


@MODELS.register_module()
class TarDALLoss(PriorHolder):
    """Compare with both sources, weighted by VGG16's information in each.

    w_ir L(f, ir) + w_vi L(f, vi) with L the MS-SSIM and L1 loss of Zhao et al. (2015) and w the mean of the features
    before VGG16's five poolings, at most 1.

    Args:
        prior: Config of a :class:`VGGPrior` of VGG16.
        size: Images are resized to this for VGG.
        loss_weight: Factor on the loss.
    """

    layers = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')

    def __init__(self, prior: dict, size: int = 672, loss_weight: float = 0.8) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=self.layers)))
        self.ms_ssim, self.size, self.loss_weight = MS_SSIMLoss(), size, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and the weights."""
        weights = {name: self.information(x) for name, x in (('vi', vi), ('ir', ir))}
        total = weights['vi'] * self.ms_ssim(fused, vi) + weights['ir'] * self.ms_ssim(fused, ir)
        return self.loss_weight * total, {f'weight_{name}': value for name, value in weights.items()}

    @torch.no_grad()
    def information(self, x: Tensor) -> Tensor:
        """Average VGG's features of N×1×H×W images in [0, 1] over layers, places and images."""
        features = self.prior('vgg')(F.interpolate(x, (self.size, self.size), mode='bilinear')).values()
        maps = [F.interpolate(f.mean(1, keepdim=True), x.shape[2:], mode='bilinear') for f in features]
        return sum(maps).div(len(maps)).clamp(0, 1).mean()  # the public code keeps the maps as 8-bit images


class _DivergenceDiscriminator(Discriminator):
    """Wasserstein divergence: mean f − mean r + k mean ‖∇‖^p.

    r and f are real and fake scores, between which ∇ is taken; −mean f fools it.
    """

    def __init__(
        self,
        size: int = 224,
        channels: tuple[int, ...] = (32, 64, 128),
        penalty: float = 2.0,
        power: float = 6.0,
        loss_weight: float = 0.1,
    ) -> None:
        super().__init__(1, channels, criterion='wgan', penalty=penalty, loss_weight=loss_weight)
        self.size, self.power = size, power
        side = -(-size // 2 ** len(channels))
        self.score = nn.Linear((1, *channels)[-1] * side**2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score N×1×H×W images; N values.

        Raises:
            ValueError: If the images are not of the size that the linear layer was built for.
        """
        if image.shape[2:] != (self.size, self.size):
            raise ValueError(
                f'{type(self).__name__} was built for {self.size}×{self.size} and got {tuple(image.shape[2:])}: give it '
                'the size of the training images (size=…).'
            )
        return self.score(self.layers(image).flatten(1))[:, 0].float()

    def _gradient_penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fake).requires_grad_()
        gradient = torch.autograd.grad(self(between).sum(), between, create_graph=True)[0]
        # The small constant keeps the gradient of the norm finite where no gradient arrives.
        return ((gradient.flatten(1) + 1e-6).norm(dim=1) ** self.power).mean()


@MODELS.register_module()
class TarDALTargetDiscriminator(_DivergenceDiscriminator):
    """Tell infrared from fused targets, black outside of the mask.

    Args:
        size: Height and width of the training images.
        channels: Of the convolutions of stride 2.
        penalty, power: k and p of the divergence.
        loss_weight: Factor on the adversarial loss of the fusion network.
    """

    def loss(self, fused: Tensor, ir: Tensor, mask_ir: Tensor) -> Tensor:
        """Compute the discriminator's own loss of N×1×H×W images in [0, 1] and masks."""
        return super().loss(ir * mask_ir, fused * mask_ir)

    def fool(self, fused: Tensor, mask_ir: Tensor) -> Tensor:
        """Compute the fusion network's adversarial loss."""
        return super().fool(fused * mask_ir)


@MODELS.register_module()
class TarDALDetailDiscriminator(_DivergenceDiscriminator):
    """Tell visible from fused gradients, by the Sobel magnitude.

    Args:
        size: Height and width of the training images.
        channels: Of the convolutions of stride 2.
        penalty, power: k and p of the divergence.
        loss_weight: Factor on the adversarial loss of the fusion network.
    """

    def loss(self, fused: Tensor, vi: Tensor) -> Tensor:
        """Compute the discriminator's own loss of N×1×H×W images in [0, 1]."""
        return super().loss(sobel(vi, eps=1e-8), sobel(fused, eps=1e-8))

    def fool(self, fused: Tensor) -> Tensor:
        """Compute the fusion network's adversarial loss."""
        return super().fool(sobel(fused, eps=1e-8))
