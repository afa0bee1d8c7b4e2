"""RCAFusion: images exchange their differences, through attention.

Li, Yin, Wang, Liang, Wang, Bai, Liu: "RCAFusion: Cross Rubik Cube Attention Network for Multi-modal Image Fusion of
Intelligent Vehicles", IEEE Intelligent Vehicles Symposium 2024. https://doi.org/10.1109/IV55156.2024.10588756

The network is SeAFusion's with two changes: each gradient residual dense block weights its channels, and after each
block either image receives the difference of the other one, weighted by a "Rubik cube" attention.

What the public code (vehicle-AngLi/RCAFusion, 7d5c989) does beside: no batch norm is applied, though it is in the file;
Sobel's kernels are learned along. Its structural loss has constants for images of 0…255 and gets 0…1, so that it hardly
says anything; and the entropies that weight it are of a histogram over 0…255, too, so that they count white pixels
only.
"""

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def conv_act(in_channels: int, out_channels: int) -> nn.Sequential:
    """Make a 3×3 convolution with a leaky ReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True))


class LearnedSobel(nn.Module):
    """|∂x| + |∂y| of each channel, by kernels that begin as Sobel's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.x, self.y = (nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False) for _ in range(2))
        kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        with torch.no_grad():
            self.x.weight.copy_(kernel)
            self.y.weight.copy_(kernel.t())

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape, not negative."""
        return self.x(x).abs() + self.y(x).abs()


class WeightedGRDB(nn.Module):
    """Gradient residual dense block whose two branches pass one channel attention."""

    def __init__(self, in_channels: int, out_channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.dense1, self.dense2 = conv_act(in_channels, in_channels), conv_act(2 * in_channels, in_channels)
        self.project = nn.Conv2d(3 * in_channels, out_channels, 1)
        self.sobel, self.shortcut = LearnedSobel(in_channels), nn.Conv2d(in_channels, out_channels, 1)
        hidden = max(1, out_channels // reduction)
        self.attention = nn.Sequential(
            nn.Linear(out_channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out_channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×out_channels×H×W."""
        dense = torch.cat([x, self.dense1(x)], 1)
        dense = self.project(torch.cat([dense, self.dense2(dense)], 1))
        gradient = self.shortcut(self.sobel(x))
        dense, gradient = (y * self.attention(y.mean((2, 3)))[..., None, None] for y in (dense, gradient))
        return F.leaky_relu(dense + gradient, 0.1)


class RubikCubeAttention(nn.Module):
    """Attention over channels and pixels, multiplied, and over columns, added."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.ReLU(),
            nn.Sigmoid(),
        )
        self.spatial = nn.Conv2d(1, 1, 7, padding=3, bias=False)
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape, in (0, 1)."""
        cube = x * self.spatial(x.mean(1, keepdim=True)).sigmoid() * self.channel(x)
        columns = self.query(x).sigmoid().mT @ self.key(x).sigmoid()  # N×C×W×W
        return self.project(cube + 0.1 * self.value(x @ columns).sigmoid()).sigmoid()


@MODELS.register_module()
class RCAFusion(nn.Module):
    """RCAFusion: two blocks for either image, an exchange after each.

    Args:
        channels: Of the first convolution and the two blocks.
    """

    def __init__(self, channels: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        first, second, third = channels
        self.stem_vi, self.stem_ir = conv_act(1, first), conv_act(1, first)
        self.blocks_vi, self.blocks_ir = (
            nn.ModuleList([WeightedGRDB(first, second), WeightedGRDB(second, third)]) for _ in range(2)
        )
        self.exchanges = nn.ModuleList([RubikCubeAttention(second), RubikCubeAttention(third)])
        self.decoder = nn.Sequential(
            conv_act(2 * third, 2 * second), conv_act(2 * second, 2 * first), conv_act(2 * first, first)
        )
        self.head = nn.Conv2d(first, 1, 3, padding=1)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]; N×1×H×W in (0, 1)."""
        vi, ir = self.stem_vi(vi), self.stem_ir(ir)
        for block_vi, block_ir, exchange in zip(self.blocks_vi, self.blocks_ir, self.exchanges, strict=True):
            vi, ir = block_vi(vi), block_ir(ir)
            vi, ir = vi + exchange(ir - vi), ir + exchange(vi - ir)
        return self.head(self.decoder(torch.cat([vi, ir], 1))).tanh() / 2 + 0.5

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; what it never calls is dropped."""
        names = {
            'conv_vis.conv.': 'stem_vi.0.',
            'conv_inf.conv.': 'stem_ir.0.',
            'dsam1_vis.': 'blocks_vi.0.',
            'dsam2_vis.': 'blocks_vi.1.',
            'dsam1_inf.': 'blocks_ir.0.',
            'dsam2_inf.': 'blocks_ir.1.',
            'dense.conv1.conv.': 'dense1.0.',
            'dense.conv2.conv.': 'dense2.0.',
            'convdown.conv.': 'project.',
            'convup.conv.': 'shortcut.',
            'sobelconv.conv': 'sobel.',
            'cattention.line1.': 'attention.0.',
            'cattention.line2.': 'attention.2.',
            'cro_att1.rubik.': 'exchanges.0.',
            'cro_att2.rubik.': 'exchanges.1.',
            '.line1.': '.channel.1.',
            '.line2.': '.channel.3.',
            '.space.': '.spatial.',
            '.satt.conv1.': '.query.',
            '.satt.conv2.': '.key.',
            '.satt.conv3.': '.value.',
            'decode4.conv.': 'decoder.0.0.',
            'decode3.conv.': 'decoder.1.0.',
            'decode2.conv.': 'decoder.2.0.',
            'decode1.conv.': 'head.',
            'exchanges.0.conv.': 'exchanges.0.project.',
            'exchanges.1.conv.': 'exchanges.1.project.',
        }
        state = {name: value for name, value in state.items() if not ('.bn.' in name or '.se.' in name)}
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class EntropyWeightedSSIMLoss(nn.Module):
    """RCAFusion's asymmetric structural loss, weighted by entropy.

    Σ_x (1 − SSIM(f, x)) E(x) / (E(vi) + E(ir)), E the entropy of a batch.

    Args:
        variant: ``'official'``: SSIM's constants and the histogram are those of images of 0…255, while images are in [0,
            1], as in the public code; ``'paper'``: those of images in [0, 1].
        loss_weight: Factor on the loss.

    Raises:
        ValueError: If the variant is unknown.
    """

    def __init__(self, variant: str = 'official', loss_weight: float = 1.0) -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        self.range = 255.0 if variant == 'official' else 1.0
        self.loss_weight = loss_weight

    def entropy(self, image: Tensor) -> Tensor:
        """Compute a batch's entropy over 256 bins; a number."""
        counts = torch.histc(image, 256, 0, self.range)
        share = counts / counts.sum()
        return -(share * (share + 1e-7).log2()).sum()

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compare N×1×H×W images in [0, 1] of 11×11 pixels or more."""
        entropies = torch.stack([self.entropy(vi), self.entropy(ir)])
        distances = torch.stack([1 - ssim(x, fused, data_range=self.range) for x in (vi, ir)])
        return self.loss_weight * (entropies / entropies.sum() * distances).sum()
