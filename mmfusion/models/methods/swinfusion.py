"""SwinFusion: attention within each image and across both, in windows.

Ma, Tang, Fan, Huang, Mei, Ma: "SwinFusion: Cross-domain Long-range Learning for General Image Fusion via Swin
Transformer", IEEE/CAA Journal of Automatica Sinica 9 (7), 2022. https://doi.org/10.1109/JAS.2022.105686

Two convolutions and Swin transformer blocks extract features of either image. In a fusion block, self-attention within
each image is followed by cross-attention, whose queries come from one and whose keys and values from the other. Both
are joined by a convolution, and further Swin blocks and three convolutions make the image.

What the public code (Linfeng-Tang/SwinFusion, ceeec3f) does, and its options do not say: ``depths`` and ``num_heads``
of its configs belong to no argument, so that the published network has the defaults, 4 blocks of extraction, two fusion
blocks of 2, and 4 of reconstruction, with 6 heads. The infrared image's first convolutions serve the visible one, too;
those of the visible image are never called. One layer norm stands in front of all five groups of blocks.
"""

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from mmfusion.models.layers import attention, sobel_magnitude
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with biases of relative positions.

    Args:
        channels: C.
        num_heads: Heads.
        window: Side of a window.
        shift: By how much windows are shifted; across the image's border tokens do not see one another.
    """

    def __init__(self, channels: int, num_heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.query, self.key_value = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')).flatten(1)
        offset = place[:, :, None] - place[:, None] + window - 1
        self.register_buffer('position', offset[0] * (2 * window - 1) + offset[1], persistent=False)

    def to_windows(self, x: Tensor) -> Tensor:
        """N×H×W×C → N·windows × tokens × C."""
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        n, h, w, c = x.shape
        s = self.window
        return x.view(n, h // s, s, w // s, s, c).transpose(2, 3).reshape(-1, s * s, c)

    def from_windows(self, windows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undo :meth:`to_windows`."""
        n, h, w, c = shape
        s = self.window
        x = windows.view(n, h // s, w // s, s, s, c).transpose(2, 3).reshape(shape)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def border(self, height: int, width: int) -> Tensor:
        """Find the windows that a shift has put together from opposite borders.

        Returns:
            For each window and pair of tokens −100 where the two are not neighbours, else 0.
        """
        rows, columns = (
            (torch.arange(n, device=self.bias.device) >= n - self.window).int()
            + (torch.arange(n, device=self.bias.device) >= n - self.shift).int()
            for n in (height, width)
        )
        s = self.window
        region = (3 * rows[:, None] + columns).view(height // s, s, width // s, s).transpose(1, 2).reshape(-1, s * s)
        return -100.0 * (region[:, None] != region[:, :, None]).to(self.bias.dtype)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Let tokens ``x`` look at ``source``, both N×H×W×C, in whole windows."""
        n, h, w, _ = x.shape
        q = self.query(self.to_windows(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.key_value(self.to_windows(source)).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias[self.position].permute(2, 0, 1)[None]  # of four dimensions: only then is attention one kernel
        if self.shift:
            bias = (bias + self.border(h, w)[:, None]).repeat(n, 1, 1, 1)
        out = attention(q, k, v, bias.to(q.dtype))
        return self.from_windows(self.project(out.transpose(1, 2).flatten(2)), x.shape)


class SwinBlock(nn.Module):
    """Swin transformer block: attention and perceptron, each normed and added."""

    def __init__(self, channels: int, num_heads: int, window: int, shift: int, expansion: int, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window, shift)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )
        self.drop = StochasticDepth(drop, 'row')

    def forward(self, x: Tensor, normed: Tensor | None = None, source: Tensor | None = None) -> Tensor:
        """Improve tokens N×H×W×C by those of ``source``, or ``normed``."""
        normed = self.norm1(x) if normed is None else normed
        x = x + self.drop(self.attn(normed, normed if source is None else source))
        return x + self.drop(self.mlp(self.norm2(x)))


class SwinGroup(nn.ModuleList):
    """Swin blocks, every second one with shifted windows."""

    def __init__(self, depth: int, drops: list[float], channels: int, num_heads: int, window: int, **kwargs) -> None:
        super().__init__(
            SwinBlock(channels, num_heads, window, window // 2 * (k % 2), drop=drops[k], **kwargs) for k in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×H×W×C → the same shape."""
        for block in self:
            x = block(x)
        return x


class FusionGroup(nn.Module):
    """Swin blocks within each image, then across both."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__()
        self.self_ir, self.self_vi, self.cross_ir, self.cross_vi = (SwinGroup(*args, **kwargs) for _ in range(4))

    def forward(self, ir: Tensor, vi: Tensor) -> tuple[Tensor, Tensor]:
        """Two times N×H×W×C → the same shapes."""
        ir, vi = self.self_ir(ir), self.self_vi(vi)
        for block_ir, block_vi in zip(self.cross_ir, self.cross_vi, strict=True):
            normed_ir, normed_vi = block_ir.norm1(ir), block_vi.norm1(vi)
            ir, vi = block_ir(ir, normed_ir, normed_vi), block_vi(vi, normed_vi, normed_ir)
        return ir, vi


def conv_act(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make a 3×3 convolution with a leaky ReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True))


@MODELS.register_module()
class SwinFusion(nn.Module):
    """SwinFusion: extraction, attention-guided cross-domain fusion, reconstruction.

    Height and width must be multiples of the window: the fuser's ``size_divisor``.

    Args:
        channels: Width; a multiple of the heads and of 4.
        depth: Swin blocks of the extraction of either image, and of the reconstruction.
        fusion_depths: Swin blocks of each fusion group, within and across images.
        num_heads: Heads of all attentions.
        window: Side of a window.
        expansion: Of the perceptrons.
        drop_path: Share of residuals left out in training in the last block of each part, rising from 0 in the first.
    """

    def __init__(
        self,
        channels: int = 60,
        depth: int = 4,
        fusion_depths: tuple[int, ...] = (2, 2),
        num_heads: int = 6,
        window: int = 8,
        expansion: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        options = dict(channels=channels, num_heads=num_heads, window=window, expansion=expansion)
        drops = torch.linspace(0, drop_path, depth).tolist()
        fusion_drops = torch.linspace(0, drop_path, sum(fusion_depths)).split(fusion_depths)
        self.stem = nn.Sequential(conv_act(1, channels // 2), conv_act(channels // 2, channels))
        self.norm = nn.LayerNorm(channels)
        self.extract_ir, self.extract_vi, self.reconstruct = (SwinGroup(depth, drops, **options) for _ in range(3))
        self.fusion = nn.ModuleList(
            FusionGroup(n, part.tolist(), **options) for n, part in zip(fusion_depths, fusion_drops, strict=True)
        )
        names = ('extract_ir', 'extract_vi', 'fusion_ir', 'fusion_vi', 'reconstruct')
        self.norms = nn.ModuleDict({name: nn.LayerNorm(channels) for name in names})
        self.merge = conv_act(2 * channels, channels)
        self.head = nn.Sequential(
            conv_act(channels, channels // 2),
            conv_act(channels // 2, channels // 4),
            nn.Conv2d(channels // 4, 1, 3, padding=1),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def tokens(self, x: Tensor) -> Tensor:
        """Features N×C×H×W → normalised tokens N×H×W×C."""
        return self.norm(x.permute(0, 2, 3, 1))

    def features(self, tokens: Tensor, name: str) -> Tensor:
        """Tokens N×H×W×C after the part ``name`` → features N×C×H×W."""
        return self.norms[name](tokens).permute(0, 3, 1, 2)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W of any range, near [0, 1]."""
        ir = self.features(self.extract_ir(self.tokens(self.stem(ir))), 'extract_ir')
        vi = self.features(self.extract_vi(self.tokens(self.stem(vi))), 'extract_vi')
        ir, vi = self.tokens(ir), self.tokens(vi)
        for group in self.fusion:
            ir, vi = group(ir, vi)
        x = self.merge(torch.cat([self.features(ir, 'fusion_ir'), self.features(vi, 'fusion_vi')], 1))
        return self.head(self.features(self.reconstruct(self.tokens(x)), 'reconstruct'))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters, A infrared; unused ones are dropped."""
        names = {
            'conv_first1_A.': 'stem.0.0.',
            'conv_first2_A.': 'stem.1.0.',
            'patch_embed.norm.': 'norm.',
            'layers_Ex_A.0.residual_group.blocks.': 'extract_ir.',
            'layers_Ex_B.0.residual_group.blocks.': 'extract_vi.',
            'layers_Re.0.residual_group.blocks.': 'reconstruct.',
            'layers_Fusion.': 'fusion.',
            'residual_group_A.blocks.': 'self_ir.',
            'residual_group_B.blocks.': 'self_vi.',
            'norm_Ex_A.': 'norms.extract_ir.',
            'norm_Ex_B.': 'norms.extract_vi.',
            'norm_Fusion_A.': 'norms.fusion_ir.',
            'norm_Fusion_B.': 'norms.fusion_vi.',
            'norm_Re.': 'norms.reconstruct.',
            'conv_after_body_Fusion.': 'merge.0.',
            'conv_last1.': 'head.0.0.',
            'conv_last2.': 'head.1.0.',
            'conv_last3.': 'head.2.',
            'relative_position_bias_table': 'bias',
            '.attn.q.': '.attn.query.',
            '.attn.kv.': '.attn.key_value.',
            '.attn.proj.': '.attn.project.',
            '.mlp.fc1.': '.mlp.0.',
            '.mlp.fc2.': '.mlp.2.',
        }
        renamed = {}
        for name, value in state.items():
            if name.startswith(('conv_first1_B.', 'conv_first2_B.')) or name.endswith(('_mask', '_index')):
                continue
            # In cross-attention both images' parts are in one block there: layers_Fusion.0.residual_group.blocks.1.attn_A.
            for letter, modality in (('A', 'ir'), ('B', 'vi')):
                if 'residual_group.blocks.' in name and f'_{letter}.' in name.rpartition('blocks.')[2]:
                    name = name.replace('residual_group.blocks.', f'cross_{modality}.').replace(f'_{letter}.', '.')
            name = replace_all(name, names)
            if '.attn.qkv.' in name:
                query, key, content = value.chunk(3)
                renamed[name.replace('qkv', 'query')] = query
                renamed[name.replace('qkv', 'key_value')] = torch.cat([key, content])
            else:
                renamed[name] = value
        return renamed


@MODELS.register_module()
class WeightedSSIMLoss(nn.Module):
    """SwinFusion's structural loss: 1 − Σ_x w_x SSIM(f, x).

    w_x is the share of x in the mean gradients of both sources, over the whole batch. SSIM has an 11×11 window and zeros
    around the image.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compare N×1×H×W images in [0, 1]."""
        strength = torch.stack([sobel_magnitude(x).mean() for x in (vi, ir)])
        padded = [F.pad(x, (5, 5, 5, 5)) for x in (fused, vi, ir)]
        likeness = torch.stack([ssim(padded[0], x, data_range=1.0) for x in padded[1:]])
        return self.loss_weight * (1 - (strength / strength.sum() * likeness).sum())
