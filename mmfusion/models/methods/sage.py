"""SAGE: a small fusion network, distilled from one with SAM's masks.

*Every SAM Drop Counts: Embracing Semantic Priors for Multi-Modality Image Fusion and Beyond*; Wu, Liu, Fu, Peng, Liu, Fan,
Liu; CVPR 2025.

What fuses is the sub-network, a U of five stages, three convolutions each. SAM is needed in training only: for the large
network, which is not here and gives the images that the sub-network learns from, and for a loss on SAM's first features.

Of the public code (RollingPlain/SAGE_IVIF): the paper draws the sub-network as dense blocks, and there it is plain
convolutions; its test script converts colours at 8 bits and takes 0.5 for the middle of chroma, which is 128/255, so that
grey images come out with a slight cast (:class:`SAGEColor`). The features of the large network, which its sub-network also
follows, are not used here.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.fusers.color import luminance
from mmfusion.models.layers import sobel_magnitude
from mmfusion.models.priors import FrozenPrior, PriorHolder
from mmfusion.models.priors.frozen import load_exactly, seeded
from mmfusion.models.priors.weights import SAM_URLS, read_weights
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def _convs(*channels: int, size: int = 3) -> nn.Sequential:
    """Convolutions with batch norm and LeakyReLU (0.01)."""
    layers = []
    for cin, cout in pairwise(channels):
        layers += [nn.Conv2d(cin, cout, size, padding=size // 2), nn.BatchNorm2d(cout), nn.LeakyReLU(inplace=True)]
    return nn.Sequential(*layers)


@MODELS.register_module()
class SAGE(nn.Module):
    """Fuse by a U of five stages, down to a quarter.

    Args:
        channels: Of every convolution.
    """

    min_size = 4  # two poolings

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        c = channels
        self.encoder = nn.ModuleList([_convs(2, c, c, c), _convs(c, c, c, c), _convs(c, c, c, c)])
        self.joint = nn.ModuleList(_convs(2 * c, c, size=1) for _ in range(2))
        self.decoder = nn.ModuleList(_convs(c, c, c, c) for _ in range(2))
        self.head = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in (-1, 1)."""
        full = self.encoder[0](torch.cat([vi, ir], 1))
        half = self.encoder[1](F.max_pool2d(full, 2))
        x = self.encoder[2](F.max_pool2d(half, 2))
        for skip, joint, stage in zip((half, full), self.joint, self.decoder, strict=True):
            x = F.interpolate(x, skip.shape[2:], mode='bilinear')
            x = stage(joint(torch.cat([x, skip], 1)))
        return self.head(x).tanh()

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the parameters of the public code."""
        names = {f'module{k + 1}.': f'encoder.{k}.' for k in range(3)}
        names |= {f'module{k + 4}.': f'decoder.{k}.' for k in range(2)}
        names |= {f'adjust_channels{k + 4}.': f'joint.{k}.' for k in range(2)} | {'final_decoder.0.': 'head.'}
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class SAGEColor(nn.Module):
    """Join fused luminance and visible chroma as SAGE's public code.

    Cb and Cr are OpenCV's, rounded to 8 bits; 0.5 is taken for their middle, which is 128/255.
    """

    channels = 1

    def forward(self, fused: Tensor, vi_rgb: Tensor) -> Tensor:
        """Join luminance N×1×H×W and N×3×H×W's colours; clipped to [0, 1]."""
        y = (luminance(vi_rgb, 'round').double() * 255).round()
        red, blue = ((vi_rgb[:, k : k + 1].double() * 255).round() for k in (0, 2))
        # OpenCV's integers of 14 bits: 0.713 (R − Y) + 128, 0.564 (B − Y) + 128.
        cr, cb = (
            ((factor * (x - y) + (128 << 14) + 8192) / 16384).floor().clamp(0, 255) / 255 - 0.5
            for factor, x in ((11682, red), (9241, blue))
        )
        shift = torch.cat([1.403 * cr, -0.714 * cr - 0.344 * cb, 1.773 * cb], 1)
        return (fused + shift.to(fused.dtype)).clamp(0, 1)


@MODELS.register_module()
class SAGEReferenceLoss(nn.Module):
    """Hold the fused image to both sources and the large network's.

    3 (3 MSE(f, vi) + 2 MSE(f, ir) + 4 MSE(f, r)) + 3 (9 ‖∇f − max(∇vi, ∇ir)‖₁ + 3 ‖∇f − ∇r‖₁), ∇ = |∂x| + |∂y| by Sobel.

    Args:
        loss_weight: Factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor, reference: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images in [0, 1]; ``reference`` is r."""
        grad, grad_vi, grad_ir, grad_reference = (sobel_magnitude(x) for x in (fused, vi, ir, reference))
        intensity = 3 * F.mse_loss(fused, vi) + 2 * F.mse_loss(fused, ir) + 4 * F.mse_loss(fused, reference)
        gradient = 9 * F.l1_loss(grad, torch.maximum(grad_vi, grad_ir)) + 3 * F.l1_loss(grad, grad_reference)
        log = dict(intensity=intensity.detach(), gradient=gradient.detach())
        return self.loss_weight * 3 * (intensity + gradient), log


class SAMFeatures(FrozenPrior):
    """First features of SAM's ViT-B, as SAGE's loss sees images.

    Args:
        weights: SAM's checkpoint (``sam_vit_b_01ec64.pth``), a URL, ``'vit_b'`` to download it, or ``'random'``.
        blocks: How many blocks; the features of each are given.
        width: Factor on ViT-B's width and heads, with random weights only: tiny networks for tests.

    Raises:
        ImportError: If segment-anything is not installed.
        FileNotFoundError: If ``weights`` is no file.
        ValueError: If other than random weights are to have another width.
    """

    arch = 'sam_vit_b'

    def __init__(self, weights: str, blocks: int = 2, width: float = 1.0) -> None:
        super().__init__()
        if width != 1 and weights != 'random':
            raise ValueError(f"width={width} needs weights='random': pre-trained weights have one width only")
        try:
            from segment_anything.modeling import ImageEncoderViT
        except ImportError as e:
            raise ImportError(
                'SAGESemanticLoss needs segment-anything: pip install segment-anything (or mmfusion[masks])'
            ) from e
        self.weights = weights
        options = dict(img_size=1024, use_rel_pos=True, window_size=14, global_attn_indexes=(2, 5, 8, 11))
        options |= dict(embed_dim=int(768 * width), num_heads=max(1, int(12 * width)))
        encoder = seeded(lambda: ImageEncoderViT(depth=blocks, **options))
        self.patch_embed, self.blocks = encoder.patch_embed, encoder.blocks
        state = read_weights(weights, 'SAM ViT-B of SAGESemanticLoss', 'weights', dict(vit_b=SAM_URLS['vit_b']))
        if state is not None:
            state = {name.removeprefix('image_encoder.'): value for name, value in state.items()}
            own = self.state_dict()
            load_exactly(self, {k: v for k, v in state.items() if k in own}, weights, 'SAM ViT-B')
        self.freeze()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give features of N×1×H×W images in [0, 1], N×C×H/16×W/16 of each block."""
        x, out = self.patch_embed(x.expand(-1, 3, -1, -1)), []
        for block in self.blocks:
            x = block(x)
            out.append(x.permute(0, 3, 1, 2))
        return out


@MODELS.register_module()
class SAGESemanticLoss(PriorHolder):
    """Draw masked patches to the reference and away from the source.

    Σ_m d(f m, r m) / d(f m, s m) over masks m of each source s; d = Σ ‖IN(φ(a)) − IN(φ(b))‖₂ over φ's layers, IN instance
    norm. Masks that are empty in the whole batch are left out.

    Args:
        prior: Options of :class:`SAMFeatures`.
        loss_weight: Factor on the loss; the public code divides by 3000.
    """

    def __init__(self, prior: dict, loss_weight: float = 1 / 3000) -> None:
        super().__init__()
        self.hold('sam', SAMFeatures(**prior))
        self.loss_weight = loss_weight

    def forward(
        self, fused: Tensor, vi: Tensor, ir: Tensor, reference: Tensor, masks_vi: Tensor, masks_ir: Tensor
    ) -> Tensor:
        """Compare N×1×H×W images in [0, 1].

        Args:
            fused, vi, ir, reference: Images.
            masks_vi, masks_ir: SAM's masks of each source, N×K×H×W, 0 and 1.
        """
        total = fused.new_zeros(())
        for source, masks in ((vi, masks_vi), (ir, masks_ir)):
            for mask in masks.split(1, dim=1):
                if not mask.any():
                    continue
                image, positive, negative = (self.features(x * mask) for x in (fused, reference, source))
                total = total + self._distance(positive, image) / (self._distance(negative, image) + 1e-7)
        return self.loss_weight * total

    def features(self, x: Tensor) -> list[Tensor]:
        """Give SAM's features, instance-normalised."""
        return [F.instance_norm(y) for y in self.prior('sam')(x)]

    @staticmethod
    def _distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
        return sum(torch.linalg.vector_norm(x - y) for x, y in zip(a, b, strict=True))
