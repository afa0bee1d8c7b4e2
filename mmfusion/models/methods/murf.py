"""MURF: Mutually Reinforcing Multi-modal Image Registration and Fusion.

Xu, Yuan, Ma; IEEE TPAMI 45(10), 2023.

Of its three parts this is the last, F2M: fine registration, then fusion. A U-Net gives a field of offsets that moves the
visible image onto the infrared one; two small encoders, an attention over channels that looks at gradients, and a decoder
fuse both. The parts before it (shared information, coarse affine registration) are for pairs that are far apart, and are
not here: pairs should be aligned but for a few pixels.

Of the public code (hanna-xu/MURF, folder ``RGB-IR``), beside what the paper says:

- its batch norm has a shift and no scale, and takes the statistics of the image in tests, too;
- the first convolution of the decoder has two groups, one for each source;
- the visible image is resampled by a softmax over its four neighbours' bilinear weights (temperature 0.05), nearly the
  nearest one, and is black where the field points outside;
- the sparsity in the registration's loss is that of the fused image, not of its gradient;
- fused colour: Cb and Cr of the moved visible image; then the image is divided by its maximum.
"""

import torch
import torch.nn.functional as F
from kornia.filters import box_blur, gaussian_blur2d
from pytorch_msssim import ssim
from torch import Tensor, nn

from mmfusion.models.layers import laplacian
from mmfusion.registry import MODELS


@MODELS.register_module()
class MURF(nn.Module):
    """Register the visible image finely, and fuse.

    In training the visible image is deformed at random before it goes in, and what would undo this is given beside the
    offsets.

    Args:
        channels: Of an encoder's three layers.
        field_channels: Of the registration's layers.
        deformation: Bound of the uniform noise that is smoothed to random fields, in halves of the image's side.
    """

    min_size = 16  # the coarsest of three scales has its borders reflected

    def __init__(
        self, channels: tuple[int, int, int] = (8, 16, 32), field_channels: int = 32, deformation: float = 0.3
    ) -> None:
        super().__init__()
        self.deformation = deformation
        self.field = _Field(field_channels)
        self.fuse = _Fuse(channels)

    def forward(self, vi_rgb: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Register and fuse images in [0, 1].

        Args:
            vi_rgb: N×3×H×W; H and W are multiples of 8.
            ir: N×1×H×W.

        Returns:
            ``fused`` N×3×H×W, ``fused_y`` and ``moved_y`` N×1×H×W (luminance of the fused and of the moved visible image),
            ``offset`` N×2×H×W (x, y in halves of the image's side), and in training ``target_offset``.

        Raises:
            ValueError: If a side is no multiple of 8.
        """
        if vi_rgb.shape[2] % 8 or vi_rgb.shape[3] % 8:
            raise ValueError(
                f'MURF needs sides that are multiples of 8, got {tuple(vi_rgb.shape[2:])}; use size_divisor=8'
            )
        out = {}
        if self.training:
            deformation = random_deformation(vi_rgb, self.deformation)
            vi_rgb, out['target_offset'] = sample(vi_rgb, deformation), invert(deformation)
        offset = self.field(torch.cat([vi_rgb, ir], 1))
        moved = sample(vi_rgb, offset)
        fused_y = self.fuse(moved, ir)
        y, cb, cr = _to_ycbcr(moved)
        return out | dict(fused=_to_rgb(fused_y, cb, cr), fused_y=fused_y, moved_y=y, offset=offset)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW.

        The moving statistics of batch norm are left out: nothing reads them.
        """
        ours = {}
        for source, letter in (('vi', 'a'), ('ir', 'b')):
            for k in range(3):
                ours[f'fuse.{source}.{k}'] = (f'w_{letter}{k + 1}', f'b_{letter}{k + 1}')
        ours |= {f'fuse.decoder.{k}': (f'wf{k + 1}', f'bf{k + 1}') for k in range(3)}
        dense = ('dense', 'dense_1', 'dense_2', 'dense_3')
        for part, name in zip(('mean.0', 'mean.1', 'max.0', 'max.1'), dense, strict=True):
            ours[f'fuse.attention.{part}'] = (f'{name}/kernel', f'{name}/bias')
        scope = 'conv1_offset/offset_conv'
        for k, number in enumerate((1, 2, 3, 5, 6, 7, 8, 10, 11)):
            ours[f'field.conv.{k}'] = tuple(f'{scope}/conv{number}/conv2d/{v}' for v in ('kernel', 'bias'))
        out = {}
        for name, (kernel, bias) in ours.items():
            kernel = state[f'f2m_net/{kernel}']
            out[f'{name}.weight'] = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
            out[f'{name}.bias'] = state[f'f2m_net/{bias}']
        for k, suffix in zip((0, 2, 3, 4, 5, 6, 7), ('', *(f'_{n}' for n in range(1, 7))), strict=True):
            out[f'field.shift.{k}'] = state[f'f2m_net/{scope}/BatchNorm{suffix}/beta']
        return out


class _Field(nn.Module):
    """U-Net of three scales: N×4×H×W → offsets N×2×H×W in [-0.2, 0.2]."""

    def __init__(self, c: int) -> None:
        super().__init__()
        shapes = [(4, c), (c, c), (c, c), (c, c), (2 * c, c), (2 * c, c), (2 * c, c), (c, c // 2), (c // 2, 2)]
        self.conv = nn.ModuleList(nn.Conv2d(*shape, 3, padding=1, padding_mode='reflect') for shape in shapes)
        normalised = [k for k in range(8) if k != 1]  # the public code leaves out the second and the last
        self.shift = nn.ParameterDict({str(k): nn.Parameter(torch.zeros(shapes[k][1])) for k in normalised})

    def layer(self, k: int, *features: Tensor) -> Tensor:
        x = self.conv[k](torch.cat(features, 1))
        if str(k) in self.shift:
            shift = self.shift[str(k)]
            if self.training:
                x = F.batch_norm(x, None, None, bias=shift, training=True, eps=1e-3)
            else:
                x = F.instance_norm(x, bias=shift, eps=1e-3)
        return F.leaky_relu(x, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.layer(0, x)
        half = self.layer(1, F.max_pool2d(whole, 4, 2, 1))
        quarter = self.layer(2, F.max_pool2d(half, 4, 2, 1))
        up = self.layer(3, F.max_pool2d(quarter, 4, 2, 1))
        for k, skip in ((4, quarter), (5, half), (6, whole)):
            up = self.layer(k, F.interpolate(up, scale_factor=2), skip)
        return 0.2 * torch.tanh(self.conv[8](self.layer(7, up)))


class _Fuse(nn.Module):
    """Encoders, attention and decoder, of moved visible and infrared images."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        c1, c2, c3 = channels
        for source, cin in (('vi', 3), ('ir', 1)):
            self.add_module(
                source,
                nn.ModuleList(
                    [nn.Conv2d(cin, c1, 1), nn.Conv2d(c1, c2, 3, padding=1), nn.Conv2d(c2, c3, 3, padding=1)]
                ),
            )
        self.attention = nn.ModuleDict(
            {k: nn.Sequential(nn.Linear(c3, c3 // 8), nn.Linear(c3 // 8, c3)) for k in ('mean', 'max')}
        )
        self.decoder = nn.ModuleList(
            [
                nn.Conv2d(2 * c3, c3, 3, padding=1, groups=2),
                nn.Conv2d(c3, c3 // 2, 3, padding=1),
                nn.Conv2d(c3 // 2, 1, 3, padding=1),
            ]
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        features = [_lrelu_all(self.vi, vi), _lrelu_all(self.ir, ir)]
        gradients = [laplacian(x).abs() for x in features]
        scale = self.attention['mean'](sum(g.mean((2, 3)) for g in gradients))
        scale = scale + self.attention['max'](sum(g.amax((2, 3)) for g in gradients))
        scale = scale.sigmoid()[:, :, None, None]
        x = _lrelu_all(self.decoder[:-1], torch.cat([f * scale for f in features], 1))
        return torch.tanh(self.decoder[-1](x)) / 2 + 0.5


def _lrelu_all(convs: nn.ModuleList, x: Tensor) -> Tensor:
    for conv in convs:
        x = F.leaky_relu(conv(x), 0.2)
    return x


def sample(image: Tensor, offset: Tensor) -> Tensor:
    """Take each pixel from its offset's place, by a sharpened mean.

    Args:
        image: N×C×H×W.
        offset: N×2×H×W, x and y, in halves of the image's side.

    Returns:
        N×C×H×W; 0 where an offset points outside.
    """
    _, c, h, w = image.shape
    x = (offset[:, 0] + torch.linspace(-1, 1, w, device=image.device) + 1) / 2 * (w - 1)
    y = (offset[:, 1] + torch.linspace(-1, 1, h, device=image.device)[:, None] + 1) / 2 * (h - 1)
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    x0, y0 = x.floor().detach(), y.floor().detach()
    x0, x1, y0, y1 = x0.clamp(0, w - 1), (x0 + 1).clamp(0, w - 1), y0.clamp(0, h - 1), (y0 + 1).clamp(0, h - 1)
    near = [(x0, y0, (x1 - x) * (y1 - y)), (x0, y1, (x1 - x) * (y - y0))]
    near += [(x1, y0, (x - x0) * (y1 - y)), (x1, y1, (x - x0) * (y - y0))]
    weights = (torch.stack([weight for *_, weight in near]) / 0.05).softmax(0)
    flat = image.flatten(2)
    values = [
        flat.gather(2, (b * w + a).long().flatten(1)[:, None].expand(-1, c, -1)).view_as(image) for a, b, _ in near
    ]
    return sum(weight[:, None] * value for weight, value in zip(weights, values, strict=True)) * inside[:, None]


def random_deformation(like: Tensor, bound: float) -> Tensor:
    """Draw smooth fields of offsets N×2×H×W for images N×C×H×W."""
    n, _, h, w = like.shape
    field = (2 * torch.rand(n, 2, h, w, device=like.device) - 1) * bound
    field = box_blur(field, (15, 15))
    for _ in range(20):
        field = gaussian_blur2d(field, (15, 15), (2.6, 2.6))
    return field


def invert(offset: Tensor, steps: int = 5) -> Tensor:
    """Find the field that undoes a small one, by fixed-point iteration."""
    h, w = offset.shape[2:]
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, s, device=offset.device) for s in (h, w)), indexing='ij')
    grid, inverse = torch.stack([x, y]), -offset
    for _ in range(steps):
        place = (grid + inverse).permute(0, 2, 3, 1)
        inverse = -F.grid_sample(offset, place, padding_mode='border', align_corners=True)
    return inverse


def _to_ycbcr(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Y in [0, 1], Cb and Cr around 0, by JPEG's rounded coefficients."""
    r, g, b = rgb.split(1, 1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return y, -0.1687 * r - 0.3313 * g + 0.5 * b, 0.5 * r - 0.4187 * g - 0.0813 * b


def _to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    return torch.cat([y + 1.402 * cr, y - 0.34414 * cb - 0.71414 * cr, y + 1.772 * cb], 1)


@MODELS.register_module()
class MURFFusionLoss(nn.Module):
    """Compare structure with both sources, gradients with the stronger one, strengthened.

    1 − (SSIM(f, vi) + SSIM(f, ir)) / 2 + λ mean |∇f − g|, with ∇ the Laplacian of four neighbours, g the source's ∇ of the
    larger absolute value, raised to the power 0.7 (its sign kept), and vi the moved visible image.

    Args:
        gradient: λ.
        power: Exponent that strengthens gradients.
        loss_weight: Factor on the loss.
    """

    def __init__(self, gradient: float = 10.0, power: float = 0.7, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.gradient, self.power, self.loss_weight = gradient, power, loss_weight

    def forward(self, fused_y: Tensor, moved_y: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and its terms."""
        similarity = sum(ssim(fused_y, x, data_range=1.0) for x in (moved_y, ir)) / 2
        vi, ir = laplacian(moved_y), laplacian(ir)
        target = torch.where(vi.abs() > ir.abs(), vi, ir)
        # A power below 1 has no finite gradient at 0; the small constant changes nothing that 8 bits could show.
        target = target.sign() * (target.abs() + 1e-8) ** self.power
        terms = dict(structure=1 - similarity, gradient=(laplacian(fused_y) - target).abs().mean())
        total = terms['structure'] + self.gradient * terms['gradient']
        return self.loss_weight * total, {name: value.detach() for name, value in terms.items()}


@MODELS.register_module()
class MURFRegistrationLoss(nn.Module):
    """Compare offsets with those that undo a deformation; sparsely fused.

    Mean squared error of the offsets + η mean min(1, f² / 0.01), a smooth count of the pixels above 0.1.

    Args:
        sparsity: η.
        loss_weight: Factor on the loss.
    """

    def __init__(self, sparsity: float = 0.001, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.sparsity, self.loss_weight = sparsity, loss_weight

    def forward(self, offset: Tensor, target_offset: Tensor, fused_y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss of offsets N×2×H×W and an image, and terms."""
        terms = dict(
            deformation=F.mse_loss(offset, target_offset),
            sparsity=(fused_y / 0.1).square().clamp(max=1).mean(),
        )
        total = terms['deformation'] + self.sparsity * terms['sparsity']
        return self.loss_weight * total, {name: value.detach() for name, value in terms.items()}
