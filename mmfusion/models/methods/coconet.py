"""CoCoNet: a U-Net with VGG's features, tuned by contrast.

*CoCoNet: Coupled Contrastive Learning Network with Multi-level Feature Ensemble for Multi-modality Image Fusion*; Liu, Lin,
Wu, Liu, Luo, Fan; International Journal of Computer Vision, 2024.

The U-Net sees both images. Its encoder's levels and those of a frozen VGG19 of each image go through attention over channels
and are joined in the decoder. Trained first by SSIM and squared error, each source weighted by its gradients and entropy;
then tuned so that salient parts are close to the infrared image and far from visible ones, and the rest the reverse.

Of the public code (runjia0124/CoCoNet): its test script does not turn off training mode, so that each image is normalised by
its own statistics (``variant``), and feeds images of 0 to 255 to a network that was trained on -1 to 1. VGG19 begins with a
grey input, and has a pooling more after its first convolution. Entropies are summed up over a batch by mistake; here they
are those of each image.
"""

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from mmfusion.models.layers import sobel_magnitude
from mmfusion.models.priors import PriorHolder
from mmfusion.models.priors.weights import read_weights
from mmfusion.registry import MODELS

_GREY = (0.299, 0.587, 0.114)


def _conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1)


class Norm(nn.BatchNorm2d):
    """Batch norm; ``official`` in tests: by each image's own statistics."""

    official = False

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        if self.training or not self.official:
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def _unit(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(_conv(cin, cout), nn.LeakyReLU(0.2, inplace=True), Norm(cout))


def _pair(cin: int, cout: int) -> nn.Sequential:
    return _unit(cin, cout) + _unit(cout, cout)


class ChannelAttention(nn.Module):
    """v + γ softmax(max E − E) v over channels, E = q kᵀ."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query, self.key, self.value = (_conv(channels, channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        energy = query @ key.mT
        attention = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
        return (value + self.gamma * (attention @ value)).unflatten(2, x.shape[2:])


class GreyVGG(nn.ModuleList):
    """VGG19's first three stages for grey images, frozen.

    Args:
        channels: C; the stages have 2C, 4C and 8C (32 for VGG19).
    """

    def __init__(self, channels: int) -> None:
        widths = [w if w == 'M' else max(1, w * channels // 32) for w in cfgs['E'][:10]]
        layers = list(make_layers(widths))
        layers[0] = _conv(1, widths[0])
        first = [*layers[:2], nn.MaxPool2d(2), *layers[2:4]]
        super().__init__(nn.Sequential(*part) for part in (first, layers[4:9], layers[9:18]))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give N×1×H×W images' features, of 1/2, 1/4 and 1/8 of the size."""
        out = []
        for stage in self:
            x = stage(x)
            out.append(x)
        return out

    def load_imagenet(self, pretrained: str) -> None:
        """Load torchvision's VGG19, its first convolution summed to grey."""
        option = 'pretrained (in the configs: MMFUSION_VGG19), or None without'
        state = read_weights(pretrained, 'vgg19', option, dict(imagenet=VGG19_Weights.IMAGENET1K_V1.url), random=False)
        first = state['features.0.weight'].float()
        state['features.0.weight'] = (first * first.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        convs = [layer for stage in self for layer in stage if isinstance(layer, nn.Conv2d)]
        for index, conv in zip((0, 2, 5, 7, 10, 12, 14, 16), convs, strict=True):
            conv.load_state_dict({part: state[f'features.{index}.{part}'] for part in ('weight', 'bias')})


@MODELS.register_module()
class CoCoNet(nn.Module):
    """Fuse by a four-level U-Net, its skips joined with VGG's features.

    Height and width must be multiples of 8; the public code pads to multiples of 16, on all sides.

    Args:
        channels: C of the first level; 2C, 4C, 8C follow. 32 fits VGG19.
        variant: What norms do in a test. ``'official'``: normalise each image by its own statistics. ``'paper'``: usual
            batch norm.
        pretrained: VGG19's weights in training: ``'imagenet'`` (torchvision's, downloaded), a file or URL, or None.

    Raises:
        ValueError: If the variant is unknown.
        FileNotFoundError: If ``pretrained`` is no file.
        RuntimeError: If the download failed.
    """

    min_size = 8
    training_only = ('pretrained',)  # a checkpoint has VGG19's weights, too

    def __init__(self, channels: int = 32, variant: str = 'official', pretrained: str | None = None) -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        c = channels
        self.vgg = GreyVGG(c)
        if pretrained:
            self.vgg.load_imagenet(pretrained)
        self.encoder = nn.ModuleList([_pair(2, c), _pair(c, 2 * c), _pair(2 * c, 4 * c), _unit(4 * c, 8 * c)])
        self.attention = nn.ModuleList(ChannelAttention(k * c) for k in (2, 4, 8))
        self.join = nn.ModuleList(_conv(3 * k * c, k * c) for k in (2, 4, 8))
        self.bottom = _unit(8 * c, 8 * c)
        self.up = nn.ModuleList(_conv(k * c, k * c // 2) for k in (2, 4, 8))
        self.decoder = nn.ModuleList([_pair(2 * c, c)[:5], _pair(4 * c, 2 * c), _pair(8 * c, 4 * c)])
        self.head = nn.Conv2d(c, 1, 1)
        for module in self.modules():
            if isinstance(module, Norm):
                module.official = variant == 'official'

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images to N×1×H×W in (-1, 1)."""
        features = [*zip(self.vgg(ir), self.vgg(vi), strict=True)]
        skips = [self.encoder[0](torch.cat([vi, ir], 1))]
        for stage in self.encoder[1:]:
            skips.append(stage(F.max_pool2d(skips[-1], 2)))
        joined = [
            join(torch.cat([attention(x) for x in (skip, *of_images)], 1))
            for join, attention, skip, of_images in zip(self.join, self.attention, skips[1:], features, strict=True)
        ]
        x = self.bottom(joined[2])
        for k, skip in ((2, joined[1]), (1, joined[0]), (0, skips[0])):
            x = self.up[k](F.interpolate(x, scale_factor=2, mode='bilinear'))
            x = self.decoder[k](torch.cat([x, skip], 1))
        return self.head(x).tanh()

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; an unused attention is dropped."""
        names = {'conv10': 'head', 'deconv4': 'join.2', 'att_deconv7': 'join.1', 'att_deconv8': 'join.0'}
        names |= {'deconv6': 'up.2', 'deconv7': 'up.1', 'deconv8': 'up.0'}
        levels = {f'{k + 1}': f'encoder.{k}' for k in range(4)} | {f'{9 - k}': f'decoder.{k}' for k in range(3)}
        for theirs, ours in levels.items():
            names |= {f'conv{theirs}_{k + 1}': f'{ours}.{3 * k}' for k in range(2)}
            names |= {f'bn{theirs}_{k + 1}': f'{ours}.{3 * k + 2}' for k in range(2)}
        names |= {'conv4_2': 'bottom.0', 'bn4_2': 'bottom.2'}
        names |= {f'se_{64 << k}': f'attention.{k}' for k in range(3)}
        names |= {'conv_1': 'query', 'conv_2': 'key', 'conv_3': 'value'}
        renamed = {}
        for name, value in state.items():
            *parts, parameter = name.split('.')
            if parts[0] == 'vgg19':  # slices of a list of layers, whose counting goes on
                stage = int(parts[1][-1]) - 1
                parts = ['vgg', str(stage), str(int(parts[2]) - (0, 5, 10)[stage])]
            elif parts[0] in ('se_32', 'att_deconv9'):
                continue
            renamed['.'.join([*(names.get(part, part) for part in parts), parameter])] = value
        return renamed


def _entropy(x: Tensor) -> Tensor:
    """Entropies (N) of N×1×H×W images in [0, 1] at 8 bits."""
    count = len(x)
    levels = (x * 255).clamp(0, 255).long().flatten(1) + 256 * torch.arange(count, device=x.device)[:, None]
    p = torch.bincount(levels.flatten(), minlength=256 * count).view(count, 256) / levels.shape[1]
    return -torch.xlogy(p, p).sum(1)


@MODELS.register_module()
class CoCoNetLoss(nn.Module):
    """Compare with both sources, each weighted by what it holds.

    α Σ_k ω_k (1 − SSIM(f, I_k)) + Σ_k ω'_k MSE(f, I_k), averaged over the batch, with ω = softmax(g / c) over the sources, g
    each one's share of their mean gradients (for ω) or entropies (ω').

    Args:
        alpha: α.
        temperatures: c for gradients and for entropies.
        loss_weight: Factor on the loss. The mean square is of images in [-1, 1], as in the public code.
    """

    def __init__(
        self, alpha: float = 20.0, temperatures: tuple[float, float] = (0.5, 0.75), loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.alpha, self.temperatures, self.loss_weight = alpha, temperatures, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and its terms."""
        dissimilarity = torch.stack([1 - ssim(fused, x, data_range=1.0, size_average=False) for x in (vi, ir)])
        error = 4 * torch.stack([(fused - x).square().mean((1, 2, 3)) for x in (vi, ir)])
        with torch.no_grad():
            gradients = torch.stack([sobel_magnitude(x, padding_mode='reflect').mean((1, 2, 3)) for x in (vi, ir)])
            weights = [
                (held / held.sum(0).clamp_min(1e-8) / c).softmax(0)
                for c, held in zip(
                    self.temperatures, (gradients, torch.stack([_entropy(x) for x in (vi, ir)])), strict=True
                )
            ]
        terms = dict(
            ssim=self.alpha * (weights[0] * dissimilarity).sum(0).mean(), mse=(weights[1] * error).sum(0).mean()
        )
        return self.loss_weight * sum(terms.values()), {name: value.detach() for name, value in terms.items()}


@MODELS.register_module()
class CoCoNetContrast(PriorHolder):
    """Draw objects to the infrared, the background to the visible image.

    For both regions Σ_l λ_l d_l(f, p) / Σ_k d_l(f, n_k), d_l the L1 distance of VGG19's features: p the one source, n the
    other one of this pair and of two more of the batch, all within the region.

    Args:
        prior: Config of a :class:`VGGPrior` of VGG19.
        negatives: How many n.
        loss_weight: Factor on the loss.
    """

    layers = {'relu1_1': 1 / 32, 'relu2_1': 1 / 16, 'relu3_1': 1 / 8, 'relu4_1': 1 / 4, 'relu5_1': 1.0}

    def __init__(self, prior: dict, negatives: int = 3, loss_weight: float = 1.0) -> None:
        super().__init__()
        # Summed to grey as the network's VGG is, and without ImageNet's mean and deviation.
        scale = dict(mean=(0, 0, 0), std=tuple(1 / weight for weight in _GREY))
        self.hold('vgg', MODELS.build(dict(prior, layers=tuple(self.layers), **scale)))
        self.negatives, self.loss_weight = negatives, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor, mask_ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and its terms.

        Args:
            fused, vi, ir: N×1×H×W in [0, 1].
            mask_ir: N×1×H×W, objects, boolean or in [0, 1].
        """
        fused, vi, ir, objects = 2 * fused - 1, 2 * vi - 1, 2 * ir - 1, mask_ir.to(fused)
        terms = dict(
            objects=self.contrast(fused, ir, vi, objects), background=self.contrast(fused, vi, ir, 1 - objects)
        )
        return self.loss_weight * sum(terms.values()), {name: value.detach() for name, value in terms.items()}

    def contrast(self, fused: Tensor, positive: Tensor, negative: Tensor, region: Tensor) -> Tensor:
        """Compare images in [-1, 1] within a region, others as negatives."""
        vgg = self.prior('vgg')
        ours = vgg(fused * region)
        with torch.no_grad():
            near = vgg(positive * region)
            far = [vgg(negative.roll(k, 0) * region) for k in range(self.negatives)]
        return sum(
            weight * F.l1_loss(ours[k], near[k]) / sum(F.l1_loss(ours[k], x[k]) for x in far).clamp_min(1e-8)
            for k, weight in self.layers.items()
        )
