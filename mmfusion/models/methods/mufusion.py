"""MUFusion: one network for all tasks, helped by earlier results.

Cheng, Xu, Wu: "MUFusion: A general unsupervised image fusion network based on memory unit", Information Fusion 92,
2023. https://doi.org/10.1016/j.inffus.2022.11.010

Both images enter an encoder of six convolutions as two channels; a decoder mirrors it, with a connection for each. The
loss has a content part, which takes each pixel from the source with the higher activity (features of VGG19), and a
memory part, which compares with the result that the same pair had an epoch before; their shares follow from how like
the sources the two results are.

What the public code (AWCXV/MUFusion, 223134e) does beside: tests run on windows of 128×128 pixels, 124 apart and
averaged, and the remembered results are files of 8 bits, each stretched to its full range. The masks of the content
loss black out the other source's pixels, edges of the masks included. Its MS-SSIM multiplies the last level's term in
at every level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import min_max_normalize
from mmfusion.models.priors import PriorHolder
from mmfusion.registry import MODELS


def block(in_channels: int, out_channels: int, stride: int = 1, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Make a 3×3 convolution with reflected borders and an activation."""
    return nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3, stride), act())


@MODELS.register_module()
class MUFusion(nn.Module):
    """MUFusion: a dense encoder at half resolution, and a decoder.

    Height and width must be even: the fuser's ``size_divisor=2``.

    Args:
        channels: At full and at half resolution.
    """

    min_size = 4

    def __init__(self, channels: tuple[int, int] = (32, 64)) -> None:
        super().__init__()
        full, half = channels
        self.encoder = nn.ModuleList(
            [
                block(2, full),
                block(full, full),
                block(2 * full, half, stride=2),
                block(half, half),
                block(2 * half, half),
                block(3 * half, half),
            ]
        )
        self.decoder = nn.ModuleList(
            [
                block(2 * full, 1, act=nn.Tanh),
                block(half + full, full),
                block(2 * half, half),
                block(2 * half, half),
                block(2 * half, half),
                block(half, half),
            ]
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W in (−1, 1)."""
        one, two, three, four, five, six = self.encoder
        e1 = one(torch.cat([ir, vi], 1))
        e2 = two(e1)
        e3 = three(torch.cat([e1, e2], 1))
        e4 = four(e3)
        e5 = five(torch.cat([e3, e4], 1))
        e6 = six(torch.cat([e3, e4, e5], 1))

        d1, d2, d3, d4, d5, d6 = self.decoder
        x = d5(torch.cat([e5, d6(e6)], 1))
        x = d3(torch.cat([e3, d4(torch.cat([e4, x], 1))], 1))
        x = F.interpolate(x, scale_factor=2, mode='bicubic')
        return d1(torch.cat([e1, d2(torch.cat([e2, x], 1))], 1))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; ``conv33`` is the decoder's block."""
        renamed = {}
        for name, value in state.items():
            block, rest = name.split('.', 1)
            digits = block.removeprefix('conv')
            part = 'encoder' if len(digits) == 1 else 'decoder'
            renamed[f'{part}.{int(digits[0]) - 1}.{rest}'] = value
        return renamed


@MODELS.register_module()
class MUFusionLoss(PriorHolder):
    """MUFusion's loss: content and memory, p₁ L_content + p₂ L_memory.

    D(f, x) = ‖f − x‖² + λ_s(1 − MS-SSIM(f, x)) + λ_g‖Δf − Δx‖², mean squares, Δ the Laplacian of four neighbours.
    L_content = D(f·w_vi, vi·w_vi) + D(f·w_ir, ir·w_ir), with w_ir = 1 where the activity of the infrared image is
    higher, w_vi = 1 elsewhere. L_memory = D(f, m), m the result of the same pair an epoch before, stretched to its full
    range. p₁ and p₂ are the softmax of the sums of MS-SSIM with both sources, of f and of m.

    The memory is kept by the samples' ``img_path``, 8 bits a pixel, in the process and not in checkpoints. For a pair
    that it does not know yet, as in the first epoch, m is f itself, and half of the content loss is left. It fits fixed
    patches only, such as the authors cut beforehand: random crops or flips of a pair would be compared with one
    another.

    Args:
        prior: Config of a :class:`VGGPrior`, VGG19.
        ssim: λ_s.
        gradient: λ_g.
        loss_weight: Factor on the loss.
    """

    layers = ('relu1_2', 'relu2_2', 'relu3_4', 'relu4_4', 'relu5_4')

    def __init__(self, prior: dict, ssim: float = 10.0, gradient: float = 10.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=self.layers)))
        self.ssim, self.gradient, self.loss_weight = ssim, gradient, loss_weight
        self.memory: dict[str, Tensor] = {}

    def forward(
        self, fused: Tensor, vi: Tensor, ir: Tensor, img_path: Sequence[str] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images in [0, 1]; also gives both parts for the log."""
        with torch.no_grad():
            takes_ir = self.activity(ir) > self.activity(vi)
            memory = self.recall(fused, img_path)
            likeness = [ms_ssim(image, ir) + ms_ssim(image, vi) for image in (fused, memory)]
            share = torch.stack(likeness).softmax(0)
        content = self.distance(fused * ~takes_ir, vi * ~takes_ir) + self.distance(fused * takes_ir, ir * takes_ir)
        remembered = self.distance(fused, memory)
        self.remember(fused, img_path)
        terms = dict(content=share[0] * content, memory=share[1] * remembered)
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}

    def activity(self, image: Tensor) -> Tensor:
        """Compute pixels' activity: VGG's features, summed and smoothed."""
        total = 0
        for features in self.prior('vgg')(image).values():
            level = features.sum(1, keepdim=True)
            level = F.interpolate(level, image.shape[2:], mode='bilinear', align_corners=True)
            total = total + F.avg_pool2d(level, 7, stride=1, padding=3)
        return total

    def distance(self, fused: Tensor, image: Tensor) -> Tensor:
        """Compute D."""
        edges = F.mse_loss(laplacian(fused), laplacian(image))
        return F.mse_loss(fused, image) + self.ssim * (1 - ms_ssim(fused, image)) + self.gradient * edges

    def recall(self, fused: Tensor, names: Sequence[str] | None) -> Tensor:
        """Give pairs' remembered results, or present ones where unknown."""
        known = [self.memory.get(name) for name in names or [''] * len(fused)]
        return torch.stack(
            [
                now if old is None or old.shape != now.shape else old.to(now) / 255
                for now, old in zip(fused.detach(), known, strict=True)
            ]
        )

    def remember(self, fused: Tensor, names: Sequence[str] | None) -> None:
        """Keep the results of some pairs for the next epoch."""
        if names:
            stretched = min_max_normalize(fused.detach(), per_image=True).mul(255).round().byte().cpu()
            self.memory.update(zip(names, stretched, strict=True))


def laplacian(x: Tensor) -> Tensor:
    """Sum each pixel's four neighbours less four times itself; black around."""
    kernel = x.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return F.conv2d(x, kernel.view(1, 1, 3, 3), padding=1)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Compute MS-SSIM as public: terms (1 + x)/2, the last to its fourth power.

    Args:
        a, b: N×1×H×W in [0, 1], 16×16 or larger: the window shrinks with the image.
    """
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    product = 1.0
    for level, exponent in enumerate(exponents):
        size = min(11, *a.shape[2:])
        offset = torch.arange(size, dtype=a.dtype, device=a.device) - size // 2
        window = (-offset.square() / (2 * 1.5**2)).exp()
        window = window / window.sum()
        kernel = (window[:, None] * window).view(1, 1, size, size)
        moments = F.conv2d(torch.cat([a, b, a * a, b * b, a * b]), kernel)
        mean_a, mean_b, square_a, square_b, mixed = moments.chunk(5)
        variances = square_a + square_b - mean_a.square() - mean_b.square()
        structure = (2 * (mixed - mean_a * mean_b) + 0.03**2) / (variances + 0.03**2)
        if level < len(exponents) - 1:
            product = product * ((structure.mean() + 1) / 2) ** exponent
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        else:
            luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a.square() + mean_b.square() + 0.01**2)
            last = (((luminance * structure).mean() + 1) / 2) ** exponent
    return product * last ** (len(exponents) - 1)
