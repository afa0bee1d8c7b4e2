"""Restormer's transformer block (Zamir et al., CVPR 2022, section 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.convnext import LayerNorm2d as ChannelLayerNorm

from mmfusion.registry import MODELS

from .precision import at_least_float32


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention (Restormer, section 3.1, eq. 1).

    Q, K, V by a 1×1 and a depth-wise 3×3 convolution. In each head the attention map is C_h×C_h over channels, of cosine
    similarities over all pixels times a learned temperature; its cost is linear in H·W.

    Args:
        channels: C.
        num_heads: Heads.
        bias: Bias in the convolutions.

    Raises:
        ValueError: If C is no multiple of the heads.
    """

    def __init__(self, channels: int, num_heads: int = 1, bias: bool = False) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels ({channels}) must be a multiple of num_heads ({num_heads})')
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.depthwise = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project = nn.Conv2d(channels, channels, 1, bias=bias)

    def attention(self, q: Tensor, k: Tensor) -> Tensor:
        """Compute maps N×heads×C_h×C_h of N×heads×C_h×HW queries and keys, in float32."""
        with torch.autocast(q.device.type, enabled=False):
            q, k = at_least_float32(q), at_least_float32(k)
            # The products are normalised instead of Q and K: C_h² numbers instead of twice C_h·HW.
            q_norm, k_norm = (torch.linalg.vector_norm(t, dim=-1, keepdim=True).clamp_min(1e-12) for t in (q, k))
            cosine = (q @ k.mT) / q_norm / k_norm.mT
            return (cosine * self.temperature).softmax(dim=-1)

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute queries, keys and values of N×C×H×W, N×heads×C_h×HW each."""
        return self.depthwise(self.qkv(x)).flatten(2).unflatten(1, (3, self.num_heads, -1)).unbind(1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, size: Sequence[int]) -> Tensor:
        """Attend by what :meth:`heads` gave; N×C×H×W of (H, W) ``size``."""
        out = self.attention(q, k).to(v.dtype) @ v
        return self.project(out.flatten(1, 2).unflatten(2, size))

    def forward(self, x: Tensor) -> Tensor:
        """Run on N×C×H×W; the same shape."""
        return self.attend(*self.heads(x), x.shape[2:])


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network (Restormer, section 3.2, eq. 2): W₃(GELU(D₁W₁x) ⊙ D₂W₂x).

    Args:
        channels: C.
        expansion: The hidden width as a multiple of C; Restormer's is 2.66.
        bias: Bias in the convolutions.
    """

    def __init__(self, channels: int, expansion: float = 2.66, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.expand = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Run on N×C×H×W; the same shape."""
        gate, value = self.depthwise(self.expand(x)).chunk(2, dim=1)
        return self.project(F.gelu(gate) * value)


@MODELS.register_module()
class RestormerBlock(nn.Module):
    """x + MDTA(LN(x)), then x + GDFN(LN(x)) (Restormer, Fig. 2).

    Args:
        channels: C.
        num_heads: Heads of the attention.
        expansion: See :class:`GDFN`.
        bias: Bias in the convolutions.
        with_cp: Compute the block's inner features again in the backward pass instead of keeping them.
    """

    def __init__(
        self, channels: int, num_heads: int = 1, expansion: float = 2.66, bias: bool = False, with_cp: bool = False
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm1 = ChannelLayerNorm(channels)
        self.attn = MDTA(channels, num_heads, bias)
        self.norm2 = ChannelLayerNorm(channels)
        self.ffn = GDFN(channels, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Run on N×C×H×W; the same shape."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._run, x, use_reentrant=False)
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))
