"""ReFusion: a fusion network whose loss is learned by how well it lets the sources be reconstructed.

*ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning*; Bai, Zhao, Zhang, Wu, Deng,
Cui, Jiang, Xu; International Journal of Computer Vision, 2024.

The fusion module: for each source a convolution and Restormer blocks; cross attention over channels between the two, and a
gated merge; Restormer blocks and two convolutions to the fused image.

Of the public code (HaowenBai/ReFusion): it has the fusion module and its weights, and no training. Each convolution stands
twice in its files, under two names of one parameter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import MDTA, RestormerBlock
from mmfusion.registry import MODELS


def _depthwise(cin: int, cout: int) -> nn.Sequential:
    """1×1 convolution and depth-wise 3×3 convolution, without bias."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 1, bias=False), nn.Conv2d(cout, cout, 3, padding=1, groups=cout, bias=False)
    )


class CrossFusion(nn.Module):
    """Merge features of two sources, C channels each, to 2C.

    Each source attends to itself by the other's queries: x₁ ← x₁ + softmax(τ₁ Q₂K₁ᵀ) V₁, and the reverse. Of x = [x₁, x₂],
    g₁ and g₂ are gates; the result is x + Σₖ Pₖ(GELU(gₖ) ⊙ Dₖ xₖ).

    Args:
        channels: C.
        num_heads: Of the attention.
        expansion: Width of a gate as a multiple of C.
    """

    def __init__(self, channels: int, num_heads: int, expansion: int = 4) -> None:
        super().__init__()
        wide = channels * expansion
        self.attn = nn.ModuleDict({name: MDTA(channels, num_heads) for name in ('ir', 'vi')})
        self.gate = _depthwise(2 * channels, 2 * wide)
        self.value = nn.ModuleDict({name: _depthwise(channels, wide) for name in self.attn})
        self.project = nn.ModuleDict({name: nn.Conv2d(wide, 2 * channels, 1, bias=False) for name in self.attn})

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Merge N×C×H×W each to N×2C×H×W."""
        (q_ir, *kv_ir), (q_vi, *kv_vi) = self.attn['ir'].heads(ir), self.attn['vi'].heads(vi)
        ir = ir + self.attn['ir'].attend(q_vi, *kv_ir, ir.shape[2:])
        vi = vi + self.attn['vi'].attend(q_ir, *kv_vi, vi.shape[2:])
        both = torch.cat([ir, vi], 1)
        gates = self.gate(both).chunk(2, dim=1)
        for name, source, gate in zip(self.attn, (ir, vi), gates, strict=True):
            both = both + self.project[name](F.gelu(gate) * self.value[name](source))
        return both


@MODELS.register_module()
class ReFusion(nn.Module):
    """Fuse by Restormer blocks for each source, cross attention, and Restormer blocks for both.

    Args:
        channels: C of a source; 2C after the merge. A multiple of ``num_heads``.
        num_blocks: Restormer blocks of a source, and after the merge.
        num_heads: Of every attention.
        expansion: Width of the blocks' gated MLP as a multiple of their channels.
    """

    def __init__(self, channels: int = 16, num_blocks: int = 2, num_heads: int = 8, expansion: float = 2) -> None:
        super().__init__()

        def blocks(c):
            return nn.Sequential(*(RestormerBlock(c, num_heads, expansion) for _ in range(num_blocks)))

        c = channels
        self.embed = nn.ModuleDict({name: nn.Conv2d(1, c, 3, padding=1, bias=False) for name in ('ir', 'vi')})
        self.encoder = nn.ModuleDict({name: blocks(c) for name in self.embed})
        self.fusion = CrossFusion(c, num_heads)
        self.decoder = blocks(2 * c)
        self.head = nn.Sequential(
            nn.Conv2d(2 * c, c, 3, padding=1, bias=False),
            nn.LeakyReLU(inplace=True),
            nn.Conv2d(c, 1, 3, padding=1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in (0, 1)."""
        vi, ir = (self.encoder[name](self.embed[name](x)) for name, x in (('vi', vi), ('ir', ir)))
        return self.head(self.decoder(self.fusion(vi, ir)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the parameters of the public code; of a convolution's two names the one that it loads last counts."""
        names = {'.conv.': '.', '.body.': '.', 'attn.project_out': 'attn.project', 'ffn.project_in': 'ffn.expand'}
        names |= {'ffn.project_out': 'ffn.project', 'project_out_0': 'head.0', 'project_out_1': 'head.2'}
        for k, source in (('1', 'ir'), ('2', 'vi')):
            names |= {
                f'project_in_{k}': f'embed.{source}',
                f'encoder{k}': f'encoder.{source}',
                f'FM.temperature{k}': f'fusion.attn.{source}.temperature',
                f'FM.qkv{k}_dwconv': f'fusion.attn.{source}.dwconv',
                f'FM.qkv{k}': f'fusion.attn.{source}.qkv',
                f'FM.project_mid{k}': f'fusion.attn.{source}.project',
                f'FM.project_E{k}_d': f'fusion.value.{source}.1',
                f'FM.project_E{k}': f'fusion.value.{source}.0',
                f'FM.project_out{k}': f'fusion.project.{source}',
            }
        names |= {'FM.project_E_d': 'fusion.gate.1', 'FM.project_E': 'fusion.gate.0'}
        names |= {'qkv_dwconv': 'depthwise', 'dwconv': 'depthwise'}
        renamed = {}
        for name, value in state.items():
            for theirs, ours in names.items():
                name = name.replace(theirs, ours)
            renamed[name] = value
        return renamed
