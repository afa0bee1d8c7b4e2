"""CDDFuse: common and own features of both images, kept apart.

Zhao, Bai, Zhang, Zhang, Xu, Lin, Timofte, Van Gool: "CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for
Multi-Modality Image Fusion", CVPR 2023. https://arxiv.org/abs/2211.14461

An encoder, shared by both images, has Restormer blocks for shallow features (SFE), a transformer block for base
features (BTE) and invertible coupling layers for detail features (DCE). Base features of both images are to correlate,
detail features are not. A first phase of training reconstructs each image; a second adds the features of both, passes
the sums through fusion layers of the same two kinds, and decodes. The decoder's convolutions are added to the visible
image.

What the public code (Zhaozixiang1228/MMIF-CDDFuse, fd8da1f) does beside: the "Lite Transformer" of the paper is a
Restormer block whose second convolutions are dense (attention) or of groups of two (feed-forward); Sigmoid is the last
layer; tests stretch the fused image to its full range.
"""

import torch
from kornia.filters import spatial_gradient
from kornia.losses import ssim_loss
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import RestormerBlock
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


class BaseBlock(RestormerBlock):
    """Restormer block of dense convolutions and pairs of channels."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__(channels, num_heads, expansion=1.0)
        wide, hidden = 3 * channels, 2 * channels
        self.attn.depthwise = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.ffn.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=channels, bias=False)


def bottleneck(channels: int) -> nn.Sequential:
    """Make a bottleneck block without residual, for a coupling layer."""
    hidden = 2 * channels
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.ReLU6(inplace=True),
        nn.Conv2d(hidden, hidden, 3, padding=1, padding_mode='reflect', groups=hidden, bias=False),
        nn.ReLU6(inplace=True),
        nn.Conv2d(hidden, channels, 1, bias=False),
    )


class Coupling(nn.Module):
    """Invertible: a₂ += φ(a₁), then a₁ = a₁ exp(ρ(a₂)) + η(a₂)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shuffle = nn.Conv2d(channels, channels, 1)
        self.phi, self.rho, self.eta = (bottleneck(channels // 2) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        first, second = self.shuffle(x).chunk(2, 1)
        second = second + self.phi(first)
        first = first * self.rho(second).exp() + self.eta(second)
        return torch.cat([first, second], 1)


@MODELS.register_module()
class CDDFuse(nn.Module):
    """CDDFuse: encoder with base and detail branch, fusion layers, decoder.

    Args:
        channels: Width.
        num_blocks: Restormer blocks of the encoder and of the decoder.
        num_heads: Heads of all attentions.
        num_couplings: Coupling layers of the detail branch; its fusion layer has one.
    """

    min_size = 2

    def __init__(
        self, channels: int = 64, num_blocks: tuple[int, int] = (4, 4), num_heads: int = 8, num_couplings: int = 3
    ) -> None:
        super().__init__()

        def restormer(num):
            return nn.Sequential(*(RestormerBlock(channels, num_heads, expansion=2.0) for _ in range(num)))

        self.embed = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.shallow = restormer(num_blocks[0])
        self.base, self.fuse_base = BaseBlock(channels, num_heads), BaseBlock(channels, num_heads)
        self.detail = nn.Sequential(*(Coupling(channels) for _ in range(num_couplings)))
        self.fuse_detail = Coupling(channels)
        self.reduce = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.decoder = restormer(num_blocks[1])
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.Conv2d(channels // 2, 1, 3, padding=1, bias=False),
        )

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N×1×H×W → base and detail features, N×C×H×W each."""
        shallow = self.shallow(self.embed(image))
        return self.base(shallow), self.detail(shallow)

    def decode(self, image: Tensor, base: Tensor, detail: Tensor) -> Tensor:
        """Decode features on top of an image, N×1×H×W in (0, 1)."""
        features = self.decoder(self.reduce(torch.cat([base, detail], 1)))
        return (image + self.head(features)).sigmoid()

    def reconstruct(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Reconstruct both images from their own features: the first phase of training."""
        base_vi, detail_vi = self.encode(vi)
        base_ir, detail_ir = self.encode(ir)
        return dict(
            base_vi=base_vi,
            base_ir=base_ir,
            detail_vi=detail_vi,
            detail_ir=detail_ir,
            reconstructed_vi=self.decode(vi, base_vi, detail_vi),
            reconstructed_ir=self.decode(ir, base_ir, detail_ir),
        )

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images in [0, 1]; ``fused`` in (0, 1), and the features of both images."""
        base_vi, detail_vi = self.encode(vi)
        base_ir, detail_ir = self.encode(ir)
        fused = self.decode(vi, self.fuse_base(base_vi + base_ir), self.fuse_detail(detail_vi + detail_ir))
        return dict(fused=fused, base_vi=base_vi, base_ir=base_ir, detail_vi=detail_vi, detail_ir=detail_ir)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the parameters of the public file's four parts."""
        names = {
            'DIDF_Encoder.patch_embed.proj.': 'embed.',
            'DIDF_Encoder.encoder_level1.': 'shallow.',
            'DIDF_Encoder.baseFeature.': 'base.',
            'DIDF_Encoder.detailFeature.net.': 'detail.',
            'BaseFuseLayer.': 'fuse_base.',
            'DetailFuseLayer.net.0.': 'fuse_detail.',
            'DIDF_Decoder.reduce_channel.': 'reduce.',
            'DIDF_Decoder.encoder_level2.': 'decoder.',
            'DIDF_Decoder.output.': 'head.',
            '.body.': '.',
            'attn.scale': 'attn.temperature',
            'attn.qkv1.': 'attn.qkv.',
            'attn.qkv2.': 'attn.depthwise.',
            'attn.qkv_dwconv.': 'attn.depthwise.',
            'attn.proj.': 'attn.project.',
            '.project_out.': '.project.',
            '.mlp.': '.ffn.',
            'ffn.project_in.': 'ffn.expand.',
            'ffn.dwconv.': 'ffn.depthwise.',
            'shffleconv.': 'shuffle.',
            'theta_': '',
            'bottleneckBlock.3.': '2.',  # its reflection is a layer of its own there
            'bottleneckBlock.5.': '4.',
            'bottleneckBlock.': '',
        }
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class CDDFuseReconstructionLoss(nn.Module):
    """CDDFuse's loss of reconstructions (phase I).

    Σ_x [‖x̂ − x‖² + λ(1 − SSIM(x̂, x))/2] + γ|∇v̂i − ∇vi|, with λ the option ``lam``.

    Args:
        lam: λ.
        gamma: γ, of the visible image's gradients.
        loss_weight: Factor on the loss.
    """

    def __init__(self, lam: float = 5.0, gamma: float = 5.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.lam, self.gamma, self.loss_weight = lam, gamma, loss_weight

    def forward(
        self, reconstructed_vi: Tensor, reconstructed_ir: Tensor, vi: Tensor, ir: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 11×11 or more; also gives logged terms."""
        terms = {
            name: F.mse_loss(made, image) + self.lam * ssim_loss(made, image, 11)
            for name, made, image in (('vi', reconstructed_vi, vi), ('ir', reconstructed_ir, ir))
        }
        terms['gradient'] = self.gamma * F.l1_loss(spatial_gradient(reconstructed_vi), spatial_gradient(vi))
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}


@MODELS.register_module()
class CorrelationDecompositionLoss(nn.Module):
    """CDDFuse's loss of decomposition: r(detail_vi, detail_ir)² / (1.01 + r(base_vi, base_ir)).

    r is the correlation over the pixels of each channel, averaged over channels and images.

    Args:
        loss_weight: Factor on the loss (α₂, α₄).
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, base_vi: Tensor, base_ir: Tensor, detail_vi: Tensor, detail_ir: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare features N×C×H×W; also gives both correlations for the log."""
        base, detail = self.correlation(base_vi, base_ir), self.correlation(detail_vi, detail_ir)
        loss = self.loss_weight * detail.square() / (1.01 + base)
        return loss, dict(base=base.detach(), detail=detail.detach())

    @staticmethod
    def correlation(a: Tensor, b: Tensor) -> Tensor:
        """Mean correlation of the channels of two feature maps."""
        a, b = (x.flatten(2) - x.flatten(2).mean(-1, keepdim=True) for x in (a, b))
        norms = a.square().sum(-1).sqrt() * b.square().sum(-1).sqrt()
        return ((a * b).sum(-1) / (torch.finfo(torch.float32).eps + norms)).clamp(-1, 1).mean()
