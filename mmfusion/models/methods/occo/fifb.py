"""FIFB, the feature interaction fusion block, as the paper prints it.

To be read beside the paper. :mod:`.fast` computes the same with less work and memory, and is what FIFN runs.
φ are the features of a modality, N×HW×C tokens. ``paper`` follows the text, otherwise the public code counts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers.precision import at_least_float32
from mmfusion.registry import MODELS


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can take each image's own statistics."""

    image_statistics = False

    @property
    def is_affine(self) -> bool:
        """Tell whether it is an affine map with fixed numbers."""
        return not (self.training or self.image_statistics)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×C×H×W."""
        if self.image_statistics and not self.training:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(x)


class ChannelWeights(nn.Module):
    """Cross channel part (eq. 1): one weight a channel of both modalities."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels), nn.ReLU(inplace=True), nn.Linear(4 * channels, 2 * channels)
        )

    def forward(self, mean: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
        """Average- and max-pooled (visible, infrared) features, N×2C each → CW_vi, CW_ir, N×C each."""
        return torch.sigmoid(self.mlp(torch.cat([mean, peak], dim=1))).chunk(2, dim=1)


class SpatialWeights(nn.Module):
    """Spatial enhancement part (eq. 2): two 1×1 convolutions, sigmoid or softmax.

    The paper's softmax over HW tokens averages 1 / HW and would all but remove the branch: it is multiplied by HW.
    """

    def __init__(self, channels: int, paper: bool = False) -> None:
        super().__init__()
        self.paper = paper
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """N×HW×C → N×HW×1 weights."""
        logits = self.mlp(tokens)
        if not self.paper:
            return torch.sigmoid(logits)
        # Over the last axis, where PyTorch sums in parts: over 10⁵ tokens float32 loses a digit otherwise.
        return at_least_float32(logits).mT.softmax(dim=-1).mT * tokens.shape[1]


class CrossAttention(nn.Module):
    """Cross attention part: channel-enhanced features ϱ → tokens ν → φ̂.

    Public code: a modality's context is softmax(Kᵀ V · C_head^-½), C_head×C_head in each head, the softmax over K's
    channels; the other modality's tokens, not projected, are its queries.

    Its tokens pass Linear(C → C) and ReLU first, which the paper does not have: there Q, K and V are projections of ν.

    Paper: φ̂_ir = Softmax(Q_vi K_ir) V_ir on C×HW sequences, so that the map is C×C. No scale is printed; the softmax of a
    sum over HW products is a hard maximum that passes no gradient: the products are averaged over the HW tokens.
    """

    def __init__(self, channels: int, num_heads: int = 1, paper: bool = False) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels ({channels}) must be a multiple of num_heads ({num_heads})')
        self.paper, self.num_heads = paper, num_heads
        self.proj = None if paper else nn.ModuleDict({m: nn.Linear(channels, channels) for m in ('vi', 'ir')})
        self.parts = 3 if paper else 2  # Q, K, V or K, V
        self.kv = nn.ModuleDict({m: nn.Linear(channels, self.parts * channels, bias=False) for m in ('vi', 'ir')})

    def forward(self, enhanced: dict[str, Tensor]) -> dict[str, Tensor]:
        """ϱ by modality, N×HW×C each → φ̂."""
        tokens = enhanced if self.paper else {m: F.relu(self.proj[m](x)) for m, x in enhanced.items()}
        attend = self.attend_paper if self.paper else self.attend_official
        return {own: attend(own, other, tokens) for own, other in (('vi', 'ir'), ('ir', 'vi'))}

    def attend_official(self, own: str, other: str, tokens: dict[str, Tensor]) -> Tensor:
        """φ̂ of one modality: its tokens as queries of the other's context."""
        parts = tokens[own], *self.kv[other](tokens[other]).chunk(self.parts, dim=-1)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in parts)  # N×heads×HW×C_head
        context = (k.mT @ v * k.shape[-1] ** -0.5).softmax(dim=-2)
        return (q @ context).transpose(1, 2).flatten(2)

    def attend_paper(self, own: str, other: str, tokens: dict[str, Tensor]) -> Tensor:
        """φ̂ of one modality: the other's queries, own keys and values."""
        q = self.kv[other](tokens[other]).chunk(self.parts, dim=-1)[0]
        _, k, v = self.kv[own](tokens[own]).chunk(self.parts, dim=-1)
        with torch.autocast(q.device.type, enabled=False):  # sums over 10⁵ tokens overflow and cancel in half precision
            q, k = at_least_float32(q), at_least_float32(k)
            attention = (q.mT @ k / k.shape[1]).softmax(dim=-1)  # N×C×C
        return v @ attention.to(v.dtype).mT


class Refine(nn.Module):
    """Restoration and refinement (eq. 4): 1×1 → depth-wise 3×3 → ReLU → 1×1, plus a 1×1 residual, normalised.

    The public code has a second BN, ``inner_norm``, after the last 1×1 of the main path.
    """

    def __init__(self, channels: int, inner_norm: bool = True) -> None:
        super().__init__()
        self.reduce = nn.Linear(2 * channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Linear(channels, channels)
        self.inner_norm = BatchNorm(channels) if inner_norm else None
        self.residual = nn.Linear(2 * channels, channels, bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, v: Tensor, size: tuple[int, int]) -> Tensor:
        """v_f, N×HW×2C → φ_f, N×C×H×W."""
        x = F.relu(self.depthwise(self.reduce(v).mT.unflatten(2, size)))
        x = self.expand(x.flatten(2).mT).mT.unflatten(2, size)
        x = x if self.inner_norm is None else self.inner_norm(x)
        return self.norm(x + self.residual(v).mT.unflatten(2, size))


@MODELS.register_module()
class FIFB(nn.Module):
    """Feature interaction fusion block: features of two modalities → one fused feature.

    Args:
        channels: C.
        num_heads: Heads of the public code's attention.
        variant: ``'official'``: the public code (sigmoid spatial weights by one MLP for both modalities, LayerNorm, linear
            attention). ``'paper'``: eq. 1-4 (softmax spatial weights by an MLP for each modality, BN, attention with
            projected queries; eq. 3 needs a projection 2C → C that is not printed).
        spatial: Spatial enhancement (SE).
        channel: Cross channel (CroC).
        attention: Cross attention (CA). Without it the channel-enhanced features ϱ stand in its place in eq. 3; otherwise
            the cross channel part, which only the attention reads, would go with it.

    Raises:
        ValueError: If the variant is unknown, or C is no multiple of the heads.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 1,
        variant: str = 'official',
        spatial: bool = True,
        channel: bool = True,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        self.paper = variant == 'paper'
        self.channel = ChannelWeights(channels) if channel else None
        self.attention = CrossAttention(channels, num_heads, self.paper) if attention else None
        # The public code builds two spatial MLPs and calls only the first; its checkpoints hold both.
        self.spatial = nn.ModuleDict({m: SpatialWeights(channels, self.paper) for m in ('vi', 'ir') if spatial})
        if spatial and not self.paper:
            self.spatial['ir'].requires_grad_(False)
        branches = int(spatial) + int(attention or channel)
        self.merge = nn.ModuleDict({m: nn.Linear(branches * channels, channels) for m in ('vi', 'ir') if branches})
        norm = nn.BatchNorm1d if self.paper else nn.LayerNorm
        self.norm = nn.ModuleDict({m: norm(channels) for m in ('vi', 'ir')})
        self.refine = Refine(channels, inner_norm=not self.paper)

    @staticmethod
    def pool(vi: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """MA of eq. 1: average- and max-pooled features of (visible, infrared), N×2C each."""
        return (
            torch.cat([vi.mean((2, 3)), ir.mean((2, 3))], dim=1),
            torch.cat([vi.amax((2, 3)), ir.amax((2, 3))], dim=1),
        )

    def spatial_weights(self, name: str, tokens: Tensor) -> Tensor:
        """Weights of eq. 2, N×HW×1."""
        return self.spatial[name if self.paper else 'vi'](tokens)

    def normalize(self, name: str, tokens: Tensor) -> Tensor:
        """Ω of eq. 3, N×HW×C."""
        return self.norm[name](tokens.mT).mT if self.paper else self.norm[name](tokens)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """φ_vi, φ_ir, N×C×H×W each → φ_f, N×C×H×W."""
        phi = dict(vi=vi.flatten(2).mT, ir=ir.flatten(2).mT)
        enhanced = phi
        if self.channel is not None:  # eq. 1: ϱ = CW ∗ φ
            weights = self.channel(*self.pool(vi, ir))
            enhanced = {m: w[:, None] * x for (m, x), w in zip(phi.items(), weights, strict=True)}
        attended = enhanced if self.attention is None else self.attention(enhanced)
        merged = []
        for m, x in phi.items():
            branches = [self.spatial_weights(m, x) * x] if self.spatial else []  # eq. 2: v = φ ⊙ Softmax(…)
            if self.attention is not None or self.channel is not None:
                branches.append(attended[m])
            if branches:  # eq. 3: φ + Linear(Cat(v, φ̂))
                x = x + self.merge[m](torch.cat(branches, dim=-1))
            merged.append(self.normalize(m, x))
        return self.refine(torch.cat(merged, dim=-1), vi.shape[2:])
