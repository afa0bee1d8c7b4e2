"""TIMFusion: searched architectures, and refinement with each source.

*A Task-guided, Implicitly-searched and Meta-initialized Deep Model for Image Fusion*; Liu, Liu, Liu, Fan, Luo; IEEE
Transactions on Pattern Analysis and Machine Intelligence, 2024.

What the search has found: two cells make a first fused image of both sources, the first cell at three scales. Then each
source with that image goes through two cells of its own, and a mask over places mixes the features of both.

Of the public code (LiuZhu-CV/TIMFusion): its test script turns off training mode for the first part only, so that the norms
of the second are by each image's own statistics (``variant``). The mask sees the maximum over channels twice; here once,
by the sum of its two weights. There is no training in it.
"""

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.registry import MODELS
from mmfusion.utils import replace_all

from .coconet import Norm


def _reflect(cin: int, cout: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, size, padding=size // 2, padding_mode='reflect')


def _depthwise(cin: int, cout: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=dilation, dilation=dilation, groups=cout, bias=False)


def _point(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 1, bias=False)


class Residual(nn.Sequential):
    """x + two depthwise convolutions, the second one dilated, and a 1×1 convolution."""

    def __init__(self, c: int) -> None:
        super().__init__(_depthwise(c, c), _depthwise(c, c, 2), _point(c, c), Norm(c), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return x + super().forward(x)


class Dilated(nn.Sequential):
    """x + a dilated depthwise convolution and a 1×1 convolution."""

    def __init__(self, c: int) -> None:
        super().__init__(nn.ReLU(), _depthwise(c, c, 2), _point(c, c), Norm(c))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return x + super().forward(x)


class Dense(nn.Module):
    """Three grouped convolutions, each of all before."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_depthwise(k * c, c) for k in range(1, 4))
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        features = [x]
        for layer in self.layers:
            features.append(self.activation(layer(torch.cat(features, 1))))
        return features[-1] * 0.333 + x


class Spatial(nn.Conv2d):
    """Weight places by the maximum and the mean over channels."""

    def __init__(self, size: int = 3) -> None:
        super().__init__(2, 1, size, padding=size // 2, bias=False)

    def mask(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×1×H×W in (0, 1)."""
        return torch.sigmoid(super().forward(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return x * self.mask(x)


class Channels(nn.Module):
    """Weight channels by their neighbours' means (ECA), then convolve."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.weigh = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.conv = nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        weights = torch.sigmoid(self.weigh(x.mean((2, 3))[:, None]))[:, 0, :, None, None]
        return self.conv(x * weights)


OPERATIONS = dict(residual=Residual, dilated=Dilated, dense=Dense, spatial=lambda c: Spatial(), channels=Channels)


def _before(c: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), _point(c, c), Norm(c))


def chain(c: int, operations: tuple[str, ...]) -> nn.Sequential:
    """Build a cell: a 1×1 convolution and operations one behind the other."""
    cell = nn.Sequential(*(OPERATIONS[name](c) for name in operations))
    return nn.Sequential(OrderedDict(before=_before(c), operations=cell))


class Blur(nn.Module):
    """Halve by a binomial filter."""

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×C×H/2×W/2."""
        taps = x.new_tensor([0.25, 0.5, 0.25])
        kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), kernel, stride=2, groups=x.shape[1])


class Resize(nn.Module):
    """Sum of two ways to half or twice the size."""

    def __init__(self, cin: int, down: bool) -> None:
        super().__init__()
        cout = 2 * cin if down else cin // 2
        conv = nn.Conv2d(cin, cin, 3, padding=1, bias=False)
        scale = nn.ConvTranspose2d(cin, cin, 3, stride=2, padding=1, output_padding=1, bias=False)
        middle = [conv, nn.PReLU(), Blur()] if down else [scale, nn.PReLU()]
        self.long = nn.Sequential(_point(cin, cin), nn.PReLU(), *middle, _point(cin, cout))
        self.short = nn.Sequential(Blur() if down else nn.Upsample(scale_factor=2, mode='bilinear'), _point(cin, cout))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×2C×H/2×W/2 or N×C/2×2H×2W."""
        return self.long(x) + self.short(x)


class Scales(nn.Module):
    """A cell of three scales, mixed by channels' weights (SKFF)."""

    def __init__(self, c: int, operations: tuple[str, ...]) -> None:
        super().__init__()
        self.before = _before(c)
        self.down = nn.ModuleList(nn.Sequential(*(Resize(c << j, True) for j in range(k))) for k in range(3))
        self.operations = nn.ModuleList(
            nn.Sequential(*(OPERATIONS[name](c << k) for name in operations)) for k in range(3)
        )
        self.up = nn.ModuleList(nn.Sequential(*(Resize(c << j, False) for j in range(k, 0, -1))) for k in range(3))
        hidden = max(c // 8, 4)
        self.squeeze = nn.Sequential(_point(c, hidden), nn.PReLU())
        self.excite = nn.ModuleList(_point(hidden, c) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W, multiples of 4 → the same shape."""
        x = self.before(x)
        scales = [
            up(operations(down(x))) for down, operations, up in zip(self.down, self.operations, self.up, strict=True)
        ]
        summary = self.squeeze(sum(scales).mean((2, 3), keepdim=True))
        weights = torch.stack([layer(summary) for layer in self.excite]).softmax(0)
        return x + sum(weight * scale for weight, scale in zip(weights, scales, strict=True))


def stem(c: int, norm: bool = False) -> nn.Sequential:
    """Build two convolutions of two images."""
    norms = [Norm(c)] if norm else []
    return nn.Sequential(_reflect(2, 2 * c), nn.PReLU(), _reflect(2 * c, c), *norms, nn.PReLU())


class FirstFusion(nn.Module):
    """Fuse both images: convolutions and two cells."""

    def __init__(self, c: int, light: bool) -> None:
        super().__init__()
        self.stem = stem(c)
        if light:
            cells = [chain(c, ('residual', 'channels')) for _ in range(2)]
        else:
            cells = [Scales(c, ('residual', 'dilated')), chain(c, ('dense', 'dilated'))]
        self.cells = nn.Sequential(*cells)
        self.head = nn.Sequential(_reflect(c, c), nn.PReLU(), _reflect(c, c // 2), _reflect(c // 2, 1, 1))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """N×1×H×W images → one."""
        return self.head(self.cells(self.stem(torch.cat([vi, ir], 1))))


class Refinement(nn.Module):
    """Join each source with the first fused image, and mix both."""

    operations = dict(vi=('channels', 'spatial'), ir=('spatial', 'dilated'))

    def __init__(self, c: int) -> None:
        super().__init__()
        self.branch = nn.ModuleDict(
            {name: nn.Sequential(stem(c, norm=True), chain(c, x), chain(c, x)) for name, x in self.operations.items()}
        )
        self.mask = Spatial(1)
        self.head = nn.Sequential(_reflect(c, c), _reflect(c, c // 2), _reflect(c // 2, 1, 1))

    def forward(self, vi: Tensor, ir: Tensor, fused: Tensor) -> Tensor:
        """N×1×H×W images → one."""
        vi, ir = (self.branch[name](torch.cat([x, fused], 1)) for name, x in (('vi', vi), ('ir', ir)))
        return self.head(torch.lerp(ir, vi, self.mask.mask(vi)))


@MODELS.register_module()
class TIMFusion(nn.Module):
    """Fuse by searched cells; sides are multiples of 4, unless ``light``.

    Args:
        channels: C, even.
        light: The light architecture: the first image alone, by two other cells at one scale.
        variant: What norms of the refinement do in a test. ``'official'``: normalise each image by its own statistics.
            ``'paper'``: usual batch norm.

    Raises:
        ValueError: If the variant is unknown.
    """

    min_size = 4

    def __init__(self, channels: int = 48, light: bool = False, variant: str = 'official') -> None:
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        self.first = FirstFusion(channels, light)
        self.refinement = None if light else Refinement(channels)
        for module in () if light else self.refinement.modules():
            if isinstance(module, Norm):
                module.official = variant == 'official'

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1]."""
        fused = self.first(vi, ir)
        return fused if self.refinement is None else self.refinement(vi, ir, fused)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters, of both files or one.

        The images of either source that the second part can give besides are left out.
        """
        scales = 'operations.0.' if any('SKFF' in name for name in state) else 'operations.'
        names = {'.conv2d': '', '.op.': '.', 'stem_out4': 'head', 'stem_out': 'head', 'preprocess1': 'before'}
        names |= {'cells.0._ops.': f'cells.0.{scales}', '_ops_1.': 'operations.1.', '_ops_2.': 'operations.2.'}
        names |= {'_ops.': 'operations.', '_op.': '', 'SKFF.conv_du': 'squeeze', 'SKFF.fcs': 'excite'}
        for stem_name, cells, source in (('stem2', 'cells3', 'vi'), ('stem3', 'cells2', 'ir')):
            names |= {stem_name: f'branch.{source}.0'}
            names |= {f'{cells}.{k}': f'branch.{source}.{k + 1}' for k in range(2)}
        for k in (1, 2):
            names |= {f'down_{2 * k}.body': f'down.{k}', f'upsample_{2 * k}.body': f'up.{k}'}
        names |= {'top.': 'long.', 'bot.': 'short.'} | {f'conv{k + 1}.conv': f'layers.{k}' for k in range(3)}
        names |= {'lrelu': 'activation', 'spa.spatial.conv': 'mask', 'se.spatial.conv.': '', 'se.conv': 'weigh'}
        names |= {'conv1.': 'conv.0.', 'relu.': 'conv.1.', '.conv.weight': '.weight'}
        renamed = {}
        for name, value in state.items():
            part, name = re.fullmatch(r'(?:weights_([12])\w*\.)?(.*)', name).groups()
            if name.endswith('.filt') or name.startswith(('stem_out2', 'stem_out3')):
                continue
            name = replace_all(name, names)
            if part == '1' and name == 'stem.0.weight':  # this one sees the infrared image first
                value = value.flip(1)
            elif name == 'mask.weight':
                value = torch.cat([value[:, :2].sum(1, keepdim=True), value[:, 2:]], 1)
            renamed[f'{"refinement" if part == "2" else "first"}.{name}'] = value
        return renamed
