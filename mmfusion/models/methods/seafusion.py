"""SeAFusion: image fusion in the loop of a segmenter.

Tang, Yuan, Ma: "Image fusion in the loop of high-level vision tasks: A semantic-aware real-time infrared and visible image
fusion network", Information Fusion 82, 2022.

A convolution and two gradient residual dense blocks for each image, four convolutions for both; trained by a content loss
and, in rounds, by a segmenter on its images: configs/seafusion, docs/methods/seafusion.md.

The public code (Linfeng-Tang/SeAFusion) builds batch norm in the decoder and never applies it, has the slope 0.1 after the
sum in a block, and learns the kernels of the gradient, which start as Sobel's.
"""

from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmfusion.models.layers import UnitTanh
from mmfusion.registry import MODELS


def build_encoders(channels, negative_slope, block=None):
    """Build an encoder for each modality: 3×3 convolution with LeakyReLU, then GRDBs.

    Args:
        channels (Sequence[int]): Channels after the convolution and after each GRDB.
        negative_slope (float): Slope of the LeakyReLUs.
        block (dict, optional): Config of another block in the place of GRDB, built with ``cin`` and ``cout``.

    Returns:
        nn.ModuleDict: ``vi`` and ``ir``, N×1×H×W → N×C×H×W each.
    """
    act = dict(type='LeakyReLU', negative_slope=negative_slope)
    block = block or dict(type='mmfusion.GRDB', negative_slope=negative_slope)
    return nn.ModuleDict(
        {
            m: nn.Sequential(
                ConvModule(1, channels[0], 3, padding=1, act_cfg=act),
                *(MODELS.build(dict(block, cin=i, cout=o)) for i, o in pairwise(channels)),
            )
            for m in ('vi', 'ir')
        }
    )


def build_decoder(channels, negative_slope, norm=True):
    """Build the decoder: 3×3 convolutions, and Tanh mapped to [0, 1].

    Args:
        channels (Sequence[int]): Channels of the features and after each convolution but the last.
        negative_slope (float): Slope of the LeakyReLUs.
        norm (bool): Whether there is BN.

    Returns:
        nn.Sequential: N×C×H×W → N×1×H×W.
    """
    act, norm_cfg = dict(type='LeakyReLU', negative_slope=negative_slope), dict(type='BN') if norm else None
    return nn.Sequential(
        *(ConvModule(i, o, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act) for i, o in pairwise(channels)),
        nn.Conv2d(channels[-1], 1, 3, padding=1),
        UnitTanh(),
    )


@MODELS.register_module()
class SeAFusion(nn.Module):
    """Network of SeAFusion.

    For each modality a 3×3 convolution to 16 channels with LeakyReLU and two gradient residual dense blocks, 16 → 32 → 48;
    both concatenated, 96 channels; 3×3 convolutions 96 → 64 → 32 → 16 with BN and LeakyReLU and a last one to the fused
    image with Tanh, mapped to [0, 1] by (x + 1) / 2.

    The paper's losses are, in a config: L_int + 10 L_texture, :class:`MaxIntensityLoss` and :class:`TextureLoss` with
    ``separate=False`` (the content loss); and a segmenter's loss on the fused image, L_main + 0.1 L_aux, with the weight
    λ = γ (m − 1) in round m of M = 4, γ = 1 (:func:`alternating_rounds`).

    Args:
        channels (Sequence[int]): Channels of a modality after the first convolution and after each GRDB.
        decoder_channels (Sequence[int]): Channels between the concatenated features and the image.
        negative_slope (float): Slope of the LeakyReLUs.
        variant (str): ``'official'``, the public code: no BN, the slope 0.1 after the sum in a block, learned kernels of the
            gradient; ``'paper'``: BN in the decoder, one slope, Sobel's kernels.
        block (dict, optional): See :func:`build_encoders`; by default the variant's GRDB.

    Raises:
        ValueError: If the variant is unknown.
    """

    def __init__(
        self,
        channels=(16, 32, 48),
        decoder_channels=(64, 32, 16),
        negative_slope=0.2,
        variant='official',
        block=None,
    ):
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        official = variant == 'official'
        if official and block is None:
            block = dict(type='mmfusion.GRDB', negative_slope=negative_slope, out_slope=0.1, learn_gradient=True)
        self.encoder = build_encoders(channels, negative_slope, block)
        self.decoder = build_decoder((2 * channels[-1], *decoder_channels), negative_slope, norm=not official)

    def forward(self, vi, ir):
        """Fuse.

        Args:
            vi, ir (Tensor): Luminance of the visible image and infrared image, N×1×H×W in [0, 1].

        Returns:
            Tensor: N×1×H×W in [0, 1].
        """
        return self.decoder(torch.cat([self.encoder['vi'](vi), self.encoder['ir'](ir)], dim=1))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate public names; batch norm, never applied, is left out."""
        parts = {
            'dense.conv1.conv': 'dense.0',
            'dense.conv2.conv': 'dense.1',
            'convdown.conv': 'reduce',
            'convup.conv': 'gradient',
        }
        out = {}
        for ours, theirs in (('vi', 'vis'), ('ir', 'inf')):
            for p in ('weight', 'bias'):
                out[f'encoder.{ours}.0.conv.{p}'] = state[f'{theirs}_conv.conv.{p}']
            for k in (1, 2):
                block = f'{theirs}_rgbd{k}'
                for there, here in parts.items():
                    for p in ('weight', 'bias'):
                        out[f'encoder.{ours}.{k}.{here}.{p}'] = state[f'{block}.{there}.{p}']
                kernels = [state[f'{block}.sobelconv.{c}.weight'] for c in ('convx', 'convy')]
                out[f'encoder.{ours}.{k}.kernels'] = torch.stack(kernels)
        for k in range(4):
            place = f'decoder.{k}.conv' if k < 3 else 'decoder.3'
            out.update({f'{place}.{p}': state[f'decode{4 - k}.conv.{p}'] for p in ('weight', 'bias')})
        return out
