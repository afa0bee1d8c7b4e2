"""SHIP: high-order interactions of both images, in space and channels.

*Probing Synergistic High-Order Interaction in Infrared and Visible Image Fusion*; Zheng, Zhou, Huang, Hou, Li, Xu, Zhao;
CVPR 2024.

A stem for each source extracts edges. Three interactions follow: in space, the visible features are multiplied with the
infrared ones, first in the frequency domain (every pixel with every pixel), then four times pixel by pixel; among channels,
the features of both are multiplied four times with weights that begin as a softmax of their means. The results of all three
are merged by an invertible block and refined.

Of the public code (zheng980629/SHIP): the edge block's two central-difference convolutions and its skip are kept apart
there; here they are one 3×3 kernel. Its weights are of the network alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import ChannelLayerNorm, at_least_float32, visual_saliency
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def _pair(channels: int) -> nn.Sequential:
    """3×3 convolution, ReLU, 3×3 convolution."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
    )


class EdgeBlock(nn.Module):
    """Convolve, then add two convolutions and an edge filter.

    The edge filter mixes two central-difference convolutions, whose kernels have five taps: a cross (+) and a diagonal
    one (×). Of each, θ times the sum of its taps is taken off the centre. In one kernel: σ(a) K₊ + (1 − σ(a)) Kₓ + δ.

    Args:
        channels: In and out.
        theta: θ.
    """

    def __init__(self, channels: int, theta: float = 0.8) -> None:
        super().__init__()
        self.process = nn.Conv2d(channels, channels, 3, padding=1)
        self.residual = _pair(channels)
        self.mix = nn.Parameter(torch.zeros(1))  # a
        for name, places in dict(cross=(1, 3, 4, 5, 7), diagonal=(0, 2, 4, 6, 8)).items():
            taps = nn.init.kaiming_uniform_(torch.empty(channels, channels, 5), a=5**0.5)
            setattr(self, name, nn.Parameter(taps))
            place = F.one_hot(torch.tensor(places), 9).float()  # 5 taps → 3×3
            place[:, 4] -= theta
            self.register_buffer(f'{name}_places', place, persistent=False)

    def kernel(self) -> Tensor:
        """C×C×3×3 of the edge filter."""
        share = torch.sigmoid(self.mix)
        kernel = share * self.cross @ self.cross_places + (1 - share) * self.diagonal @ self.diagonal_places
        skip = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
        return kernel.unflatten(2, (3, 3)) + F.pad(skip[..., None, None], (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        x = self.process(x)
        return self.residual(x) + F.conv2d(x, self.kernel(), padding=1)


class SpatialInteraction(nn.Module):
    """Multiply visible with infrared features, up to the fourth order.

    f₁ = LN(ℱ⁻¹(ℱ(vi) ⊙ ℱ(ir))) ⊙ ir; fₙ₊₁ = LN(Φₙ(fₙ)) ⊙ irₙ with irₙ = Ψₙ(irₙ₋₁), n = 1, 2, 3.

    Args:
        channels: Of a source.
        order: Of the highest product.
    """

    def __init__(self, channels: int, order: int = 4) -> None:
        super().__init__()
        self.fused = nn.ModuleList(_pair(channels) for _ in range(order - 1))
        self.infrared = nn.ModuleList(_pair(channels) for _ in range(order - 1))
        self.norms = nn.ModuleList(ChannelLayerNorm(channels) for _ in range(order))

    def forward(self, vi: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """Give fused visible and evolved infrared features, N×C×H×W each."""
        spectra = (torch.fft.rfft2(at_least_float32(x)) for x in (vi, ir))
        product = torch.fft.irfft2(next(spectra) * next(spectra), s=vi.shape[2:])
        fused = self.norms[0](product) * ir
        for refine, evolve, norm in zip(self.fused, self.infrared, self.norms[1:], strict=True):
            ir = evolve(ir)
            fused = norm(refine(fused)) * ir
        return vi + fused, ir


class ChannelInteraction(nn.Module):
    """Multiply both sources' features with channel weights, four orders.

    w₁ = softmax(A₁(mean(x))), wₙ₊₁ = softmax(Aₙ₊₁(wₙ)), x = [vi, ir]; x is multiplied with w₁, convolved, multiplied with
    w₂, and so on.

    Args:
        channels: Of a source.
        order: Number of products.
    """

    def __init__(self, channels: int, order: int = 4) -> None:
        super().__init__()
        self.attention = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1))
            for _ in range(order)
        )
        self.fused = nn.ModuleList(_pair(2 * channels) for _ in range(order - 1))
        self.merge = nn.Sequential(InvertibleBlock(2 * channels, channels), nn.Conv2d(2 * channels, channels, 1))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Give visible features with what was fused, N×C×H×W."""
        x = torch.cat([vi, ir], 1)
        weight = x.mean((2, 3), keepdim=True)
        for n, attention in enumerate(self.attention):
            weight = attention(weight).softmax(1)
            x = (self.fused[n - 1](x) if n else x) * weight
        return vi + self.merge(x)


class InvertibleBlock(nn.Module):
    """Mix channels invertibly, then couple two parts affinely.

    z = PLU x over channels; z = [z₁, z₂]; y₁ = z₁ + F(z₂); y₂ = z₂ ⊙ exp(0.8 (2 σ(H(y₁)) − 1)) + G(y₁).

    Args:
        channels: In and out.
        first: Channels of z₁.
    """

    def __init__(self, channels: int, first: int) -> None:
        super().__init__()
        self.split = (first, channels - first)
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        diagonal = upper.diagonal()
        self.register_buffer('p', p)
        self.register_buffer('sign', diagonal.sign())
        self.log_diagonal = nn.Parameter(diagonal.abs().log())
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper.triu(1))
        self.F, self.G, self.H = DenseBlock(*self.split[::-1]), DenseBlock(*self.split), DenseBlock(*self.split)

    def matrix(self) -> Tensor:
        """PLU, C×C."""
        identity = torch.eye(len(self.p), dtype=self.p.dtype, device=self.p.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return self.p @ (self.lower.tril(-1) + identity) @ upper

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        first, second = F.conv2d(x, self.matrix()[..., None, None]).split(self.split, dim=1)
        first = first + self.F(second)
        scale = 0.8 * (2 * torch.sigmoid(self.H(first)) - 1)
        return torch.cat([first, second * scale.exp() + self.G(first)], 1)


class HalfInstanceNormBlock(nn.Module):
    """Convolve twice, half the channels normed, and add the input."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.identity = nn.Conv2d(cin, cout, 1)
        self.conv_1, self.conv_2 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        self.norm = nn.InstanceNorm2d(cout // 2, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """N×C_in×H×W → N×C_out×H×W."""
        normed, plain = self.conv_1(x).chunk(2, dim=1)
        y = F.leaky_relu(torch.cat([self.norm(normed), plain], 1), 0.1)
        return F.leaky_relu(self.conv_2(y), 0.1) + self.identity(x)


class DenseBlock(nn.Module):
    """Two blocks with half instance norm, and their convolution.

    Args:
        cin, cout: Channels in and out.
        growth: Channels of the two blocks.
    """

    def __init__(self, cin: int, cout: int, growth: int = 16) -> None:
        super().__init__()
        self.conv1, self.conv2 = HalfInstanceNormBlock(cin, growth), HalfInstanceNormBlock(growth, growth)
        self.conv3 = nn.Conv2d(cin + 2 * growth, cout, 3, padding=1)
        for module in self.modules():  # a coupling that begins close to the identity
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight, gain=0.1)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """N×C_in×H×W → N×C_out×H×W."""
        one = F.leaky_relu(self.conv1(x), 0.2)
        two = F.leaky_relu(self.conv2(one), 0.2)
        return F.leaky_relu(self.conv3(torch.cat([x, one, two], 1)), 0.2)


class ChannelScale(nn.Module):
    """Add to channels the mean of refined features, by attention."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = channels // reduction
        self.process = _pair(channels)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        mean = self.process(x).mean((2, 3), keepdim=True)
        return x + self.attention(mean) * mean


@MODELS.register_module()
class SHIP(nn.Module):
    """Fuse by three interactions of high order.

    Args:
        channels: Of a source; a multiple of 4.
        num_interactions: How many follow each other.
    """

    min_size = 2  # of a single pixel there are no statistics for instance norm

    def __init__(self, channels: int = 16, num_interactions: int = 3) -> None:
        super().__init__()
        c, total = channels, num_interactions * channels
        self.stem = nn.ModuleDict(
            {name: nn.Sequential(nn.Conv2d(1, c, 1), EdgeBlock(c), EdgeBlock(c)) for name in ('vi', 'ir')}
        )
        self.spatial = nn.ModuleList(SpatialInteraction(c) for _ in range(num_interactions))
        self.channel = nn.ModuleList(ChannelInteraction(c) for _ in range(num_interactions))
        self.merge = nn.Sequential(InvertibleBlock(total, total // 2), nn.Conv2d(total, c, 1))
        self.head = nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1), ChannelScale(c), ChannelScale(c), nn.Conv2d(c, 1, 3, padding=1)
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W, about [0, 1]."""
        vi, ir = self.stem['vi'](vi), self.stem['ir'](ir)
        stages = []
        for spatial, channel in zip(self.spatial, self.channel, strict=True):
            vi, ir = spatial(vi, ir)
            vi = channel(vi, ir)
            stages.append(vi)
        return self.head(self.merge(torch.cat(stages, 1)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the parameters of the public code."""
        names = {'vis.': 'stem.vi.', 'inf.': 'stem.ir.', '.conv.weight': '.0.weight', '.conv.bias': '.0.bias'}
        names |= {
            'block': '',
            'CDC.HP_branch': 'mix',
            'CDC.h_conv.0.weight': 'cross',
            'CDC.d_conv.0.weight': 'diagonal',
        }
        names |= {'Res.': 'residual.', 'invconv.p': 'p', 'invconv.sign_s': 'sign', 'invconv.log_s': 'log_diagonal'}
        names |= {'invconv.': '', 'postprocess': 'merge', 'conv_du': 'attention', 'chaAtten': 'attention.0'}
        for k in range(1, 5):
            names |= {f'interaction{k}.{part}': f'{part}.{k - 1}' for part in ('spatial', 'channel')}
            names |= {f'reflash{name}{k}': f'{name.lower()}.{k - 1}' for name in ('Fused', 'Infrared')}
            names |= {f'reflashChaAtten{k}': f'attention.{k}', f'norm{k}.body': f'norms.{k - 1}'}
        names |= {'reconstruction.conv_in': 'head.0', 'reconstruction.conv_last': 'head.3'}
        names |= {f'reconstruction.process.{k}': f'head.{k + 1}' for k in range(2)}
        renamed = {}
        for name, value in state.items():
            name = replace_all(name, names)
            renamed[name] = value.squeeze(2) if name.endswith(('.cross', '.diagonal')) else value
        return renamed


@MODELS.register_module()
class SHIPSaliencyLoss(nn.Module):
    """Hold salient pixels to the visible image, others to infrared.

    mean|M vi − f| + mean|[M ≠ 1] ir − f|, as the public code has it: either term draws what it leaves out to black.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor, saliency_vi: Tensor | None = None) -> Tensor:
        """Compare N×1×H×W images in [0, 1].

        Args:
            fused, vi, ir: Images.
            saliency_vi: M of the visible image, N×1×H×W in [0, 1]; by default :func:`visual_saliency`.
        """
        mask = visual_saliency(vi) if saliency_vi is None else saliency_vi
        return self.loss_weight * (F.l1_loss(mask * vi, fused) + F.l1_loss((mask != 1) * ir, fused))
