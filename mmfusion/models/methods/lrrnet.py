"""LRRNet: low-rank and sparse parts of either image, by an unfolded optimisation.

Li, Xu, Wu, Lu, Kittler: "LRRNet: A Novel Representation Learning Guided Fusion Network for Infrared and Visible
Images", IEEE TPAMI 45 (9), 2023. https://doi.org/10.1109/TPAMI.2023.3268209

Each image X is written as D₁L + D₂S, with coefficients L (low rank: what is common) and S (sparse: what stands out).
The steps of an iterative shrinkage algorithm that would find Z = [L, S] become layers (LLRR blocks): products with the
dictionaries and their transposes are convolutions, and every block has its own. A small decoder joins the parts of both
images, low-rank with low-rank and sparse with sparse, and adds the two.

The public code (hli1221/imagefusion-LRRNet, e489fc3) stretches each source to its full range first, in training and in
tests; it shrinks Z by one threshold a channel, shared by all blocks, and weights the previous Z by a learned number.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import min_max_normalize
from mmfusion.models.priors import PriorHolder
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Make a 3×3 convolution with reflected borders."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode='reflect')


def shrink(z: Tensor, threshold: Tensor) -> Tensor:
    """Apply the soft threshold sign(z) max(|z| − θ, 0); θ may be negative."""
    return z.sign() * F.relu(z.abs() - threshold)


class LLRRBlock(nn.Module):
    """One unfolded step: Z ← shrink(μ Z + Dᵀ(X − D Z), θ)."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.synthesis = conv(filters, channels)  # D
        self.analysis = conv(channels, filters)  # Dᵀ

    def forward(self, x: Tensor, z: Tensor, threshold: Tensor, momentum: Tensor) -> Tensor:
        """Improve the coefficients ``z`` of ``x``."""
        return shrink(momentum * z + self.analysis(x - self.synthesis(z)), threshold)


class LLRREncoder(nn.Module):
    """Learned low-rank representation of an image."""

    def __init__(self, channels: int, filters: int, num_blocks: int) -> None:
        super().__init__()
        self.analysis = conv(channels, 2 * filters)
        self.threshold = nn.Parameter(torch.rand(1, 2 * filters, 1, 1))
        self.momentum = nn.Parameter(torch.rand(1, 1, 1, 1))
        self.blocks = nn.ModuleList(LLRRBlock(channels, 2 * filters) for _ in range(num_blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """N×C×H×W → low-rank and sparse coefficients, N×filters×H×W each."""
        z = shrink(self.analysis(x), self.threshold)
        for block in self.blocks:
            z = block(x, z, self.threshold, self.momentum)
        return z.chunk(2, dim=1)


@MODELS.register_module()
class LRRNet(nn.Module):
    """LRRNet: one LLRR encoder a modality, and a decoder of six convolutions.

    Its output has no fixed range: the fuser's ``output`` stretches each image, as the public code does.

    Args:
        filters: Coefficients a part, n.
        num_blocks: LLRR blocks an encoder.
    """

    min_size = 2

    def __init__(self, filters: int = 128, num_blocks: int = 4) -> None:
        super().__init__()
        self.encoder_ir, self.encoder_vi = (LLRREncoder(1, filters, num_blocks) for _ in range(2))
        self.low_ir, self.sparse_ir, self.low_vi, self.sparse_vi = (conv(filters, 1) for _ in range(4))
        self.merge_low, self.merge_sparse = conv(2, 1), conv(2, 1)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W of any range."""
        vi, ir = min_max_normalize(vi, per_image=True), min_max_normalize(ir, per_image=True)
        low_ir, sparse_ir = self.encoder_ir(ir)
        low_vi, sparse_vi = self.encoder_vi(vi)
        low = self.merge_low(torch.cat([self.low_ir(low_ir), self.low_vi(low_vi)], 1))
        sparse = self.merge_sparse(torch.cat([self.sparse_ir(sparse_ir), self.sparse_vi(sparse_vi)], 1))
        return low + sparse

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; its x is infrared, y visible."""
        names = {
            'get_ls1.': 'encoder_ir.',
            'get_ls2.': 'encoder_vi.',
            'conv_W00': 'analysis',
            'lrrblock': 'blocks.',
            'conv_Wdz': 'synthesis',
            'conv_Wdtz': 'analysis',
            'lamj': 'threshold',
            'lamz': 'momentum',
            'decoder.conv_ReZx': 'low_ir',
            'decoder.conv_ReUx': 'sparse_ir',
            'decoder.conv_ReZy': 'low_vi',
            'decoder.conv_ReUy': 'sparse_vi',
            'decoder.conv_ReL': 'merge_low',
            'decoder.conv_ReH': 'merge_sparse',
            '.conv2d.': '.',
        }
        renamed = {}
        for name, value in state.items():
            name = replace_all(name, names)
            renamed[name] = value[..., None, None] if value.ndim == 2 else value
        return renamed


@MODELS.register_module()
class DetailToSemanticLoss(PriorHolder):
    """LRRNet's loss: pixels, and VGG16's features from details to semantics.

    ‖f − vi‖² w₀ + w₁‖Φ₁(f) − Φ₁(vi)‖² + Σ_{k=2,3} w_k‖Φ_k(f) − (w_ir Φ_k(ir) + w_vi Φ_k(vi))‖² + w₄‖G(Φ₄(f)) −
    G(Φ₄(ir))‖², mean squares on images of 0…255, Φ₁…₄ = relu1_2, relu2_2, relu3_3, relu4_3, and G the Gram matrix over
    C·H·W.

    Args:
        prior: Config of a :class:`VGGPrior`.
        weights: w₀ … w₄.
        infrared: w_ir.
        visible: w_vi.
        loss_weight: Factor on the loss.
    """

    layers = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3')

    def __init__(
        self,
        prior: dict,
        weights: tuple[float, float, float, float, float] = (10.0, 1.5, 0.01, 0.5, 2000.0),
        infrared: float = 3.0,
        visible: float = 0.5,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=self.layers)))
        self.weights, self.infrared, self.visible, self.loss_weight = weights, infrared, visible, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images in [0, 1]; also gives the terms for the log."""
        vgg = self.prior('vgg')
        f = vgg(fused)
        with torch.no_grad():
            v, i = vgg(vi), vgg(ir)
        pixel, shallow, second, third, deep = self.weights
        first, *middle, last = self.layers
        terms = dict(pixel=pixel * F.mse_loss(255 * fused, 255 * vi), shallow=shallow * F.mse_loss(f[first], v[first]))
        terms['middle'] = sum(
            w * F.mse_loss(f[k], self.infrared * i[k] + self.visible * v[k])
            for w, k in zip((second, third), middle, strict=True)
        )
        terms['deep'] = deep * F.mse_loss(gram(f[last]), gram(i[last]))
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}


def gram(features: Tensor) -> Tensor:
    """Compute the Gram matrix of N×C×H×W features, N×C×C, divided by C·H·W."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.mT / (c * h * w)
