"""YDTR: dynamic transformers on both images and their sum.

Tang, He, Liu: "YDTR: Infrared and Visible Image Fusion via Y-Shape Dynamic Transformer", IEEE Transactions on
Multimedia 25, 2023. https://doi.org/10.1109/TMM.2022.3192661

A dynamic transformer module (DTRM) is a dynamic convolution for local features, then two transformer blocks for
context.

What the public code (tthinking/YDTR, b1f01b4) does, and the paper's drawing does not show:

- All three branches of the Y share one DTRM, and both images one first convolution.
- The dynamic convolution is x·c + x·s: a factor for each channel and one for each pixel, without a filter of its own.
- The windows of its attention hold one token. A softmax over one number is 1, so that attention is the value, and queries,
  keys and position biases do nothing; they are left out here.
- Features N×C×H×W are read as N×H×W×C tokens without being transposed: a token is C neighbouring values of a channel's
  rows. Kept, since the trained weights live by it.
"""

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Make a convolution with repeated borders, batch norm and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode='replicate')
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class TokenBlock(nn.Module):
    """Transformer block on tokens M×C, each its own window."""

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.value, self.proj = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Add the attention's value, then the perceptron's, each of normalised tokens."""
        tokens = tokens + self.proj(self.value(self.norm1(tokens)))
        return tokens + self.mlp(self.norm2(tokens))


class TokenTransformer(nn.Sequential):
    """Transformer blocks on every C values in memory of features N×C×H×W."""

    def __init__(self, channels: int, depth: int = 2) -> None:
        super().__init__(*(TokenBlock(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return super().forward(x.reshape(-1, x.shape[1])).view(x.shape)

    @staticmethod
    def rename(name: str, value: Tensor) -> tuple[str, Tensor]:
        """Rename a parameter of ``basicLayer.blocks``; of ``qkv`` values are left."""
        if '.attn.qkv.' in name:
            value = value.chunk(3)[2]
        for theirs, ours in {
            'basicLayer.blocks.': 'transformer.',
            'attn.qkv': 'value',
            'attn.proj': 'proj',
            'mlp.fc1': 'mlp.0',
            'mlp.fc2': 'mlp.2',
        }.items():
            name = name.replace(theirs, ours)
        return name, value


class DynamicConv(nn.Module):
    """Weight features by channel and by pixel: x·c + x·s."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.spatial = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.Conv2d(hidden, 1, 3, padding=1))
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return x * (self.channel(x) + self.spatial(x))


@MODELS.register_module()
class YDTR(nn.Module):
    """YDTR: stem and DTRM on either image, DTRM on their sum.

    Args:
        channels: Width; a multiple of 8 as published (64).
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.stem = conv_bn_relu(1, channels, 3)
        self.dynamic = DynamicConv(channels)
        self.transformer = TokenTransformer(channels)
        self.head = nn.Conv2d(channels, 1, 1)

    def dtrm(self, x: Tensor) -> Tensor:
        """Run the dynamic transformer module, N×C×H×W → the same shape."""
        return self.transformer(self.dynamic(x))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W in (−1, 1)."""
        # One after the other, not as one batch: batch norm has its statistics of each modality in training.
        features = self.dtrm(self.stem(ir)) + self.dtrm(self.stem(vi))
        return self.head(self.dtrm(features)).tanh()

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; what it never calls is dropped."""
        unused = ('conv64.', 'conv.', 'patch_embed.', 'relative_position')
        names = {
            'convInput.conv.': 'stem.0.',
            'convInput.bn.': 'stem.1.',
            'DDF.spatial_branch.body.': 'dynamic.spatial.',
            'DDF.channel_branch.fc.0.': 'dynamic.channel.1.',
            'DDF.channel_branch.fc.2.': 'dynamic.channel.3.',
            'convolutional_out.conv.': 'head.',
        }
        renamed = {}
        for name, value in state.items():
            if name.startswith(unused) or 'relative_position' in name:
                continue
            name, value = TokenTransformer.rename(name, value)
            name = replace_all(name, names)
            renamed[name] = value
        return renamed


@MODELS.register_module()
class YDTRLoss(nn.Module):
    """YDTR's loss: weighted structure and spatial frequency of both sources.

    Σ_x α_x(1 − SSIM(f, x)) + β_x‖SF(f) − SF(x)‖₂ for x = ir, vi. SSIM has an 11×11 window and no padding. SF is the sum
    of squared differences with the left and upper neighbour over 11×11 pixels; its norm is of the whole batch, so that
    the weights belong to the published batch and patch.

    Args:
        ssim: α of the infrared and the visible image.
        frequency: β of the infrared and the visible image.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self,
        ssim: tuple[float, float] = (1.0, 0.05),
        frequency: tuple[float, float] = (0.0006, 0.00025),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.ssim, self.frequency, self.loss_weight = ssim, frequency, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 11×11 or more; also gives logged terms."""
        terms = {}
        frequency = spatial_frequency(fused)
        for name, x, alpha, beta in zip(('ir', 'vi'), (ir, vi), self.ssim, self.frequency, strict=True):
            terms[f'ssim_{name}'] = alpha * (1 - ssim(fused, x, data_range=1.0))
            terms[f'frequency_{name}'] = beta * (frequency - spatial_frequency(x)).norm()
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}


def spatial_frequency(x: Tensor, size: int = 11) -> Tensor:
    """Sum squared differences with neighbours over windows; black around."""
    padded = F.pad(x, (1, 0, 1, 0))
    energy = (x - padded[..., 1:, :-1]).square() + (x - padded[..., :-1, 1:]).square()
    return F.conv2d(energy, torch.ones(1, 1, size, size, dtype=x.dtype, device=x.device), padding=size // 2)
