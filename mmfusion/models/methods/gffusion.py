"""GFFusion: FuNet, and FINet, which injects multi-level CLIP features into it (section III-B, Fig. 4).

The third part, SSNet, is a stock segmenter in a cascade. No public code is known; what is stated in the paper and what is
our reading is told in docs/methods/gffusion.md.
"""

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import nn

from mmfusion.registry import MODELS

from .seafusion import build_decoder, build_encoders


def combine_modalities(vi, ir):
    """f_l = max(f_vi, f_ir), element by element (eq. 6), of each layer l.

    Args:
        vi, ir (Sequence[Tensor]): L token maps, N×C×h×w each.

    Returns:
        Tensor: N×L×C×h×w.
    """
    return torch.maximum(torch.stack(tuple(vi), dim=1), torch.stack(tuple(ir), dim=1))


class MeanMerge(nn.Module):
    """z_c = (f_1 + … + f_L) / L (section III-B.3, "Mean")."""

    def forward(self, features):
        """N×L×C×h×w → N×C×h×w."""
        return features.mean(1)


class WeightedSumMerge(nn.Module):
    """z_c = ω_1 f_1 + … + ω_L f_L with learned weights (section III-B.3, "Weighted-Sum").

    Args:
        num_layers (int): L.
        softmax (bool): Make the weights sum to 1 by a softmax; the paper says that of Group-Conv only. They begin equal,
            at 1 / L, either way.
    """

    def __init__(self, num_layers, softmax=False):
        super().__init__()
        self.softmax = softmax
        self.omega = nn.Parameter(torch.zeros(num_layers) if softmax else torch.full((num_layers,), 1 / num_layers))

    def weights(self):
        """ω, of length L."""
        return self.omega.softmax(0) if self.softmax else self.omega

    def forward(self, features):
        """N×L×C×h×w → N×C×h×w."""
        return torch.einsum('nlchw,l->nchw', features, self.weights())


class GroupConvMerge(nn.Module):
    """z_c = ω_1 GroupConv(f_1, …, f_{L/N}) + … + ω_N GroupConv(…, f_L), Σω = 1 (section III-B.3, "Group-Conv").

    GroupConv is a group convolution with BN. Our reading: 1×1, with one group a channel, so that an output channel sees the
    same channel of all layers of its group. Where N does not divide L, the first groups have a layer more (11 = 6 + 5).

    Args:
        num_layers (int): L.
        channels (int): C.
        num_groups (int): N.

    Raises:
        ValueError: N is not between 1 and L.
    """

    def __init__(self, num_layers, channels, num_groups=1):
        super().__init__()
        if not 1 <= num_groups <= num_layers:
            raise ValueError(
                f'merge_groups must be between 1 and the number of layers ({num_layers}), got {num_groups}'
            )
        self.sizes = [len(part) for part in np.array_split(range(num_layers), num_groups)]
        self.convs = nn.ModuleList(
            ConvModule(size * channels, channels, 1, groups=channels, norm_cfg=dict(type='BN'), act_cfg=None)
            for size in self.sizes
        )
        self.omega = nn.Parameter(torch.zeros(num_groups))

    def weights(self):
        """ω, of length N: a softmax, so that they sum to 1."""
        return self.omega.softmax(0)

    def forward(self, features):
        """N×L×C×h×w → N×C×h×w."""
        # A group's inputs must lie beside each other: channel by channel, all layers of it.
        parts = features.transpose(1, 2).split(self.sizes, dim=2)
        outputs = [conv(part.flatten(1, 2)) for conv, part in zip(self.convs, parts, strict=True)]
        return torch.einsum('gnchw,g->nchw', torch.stack(outputs), self.weights())


class FINet(nn.Module):
    """Feature injection network χ: merges CLIP's layers and injects them into z_f (sections III-B.2 to 4).

    z_g = z_f ⊗ σ(up(Conv1×1(z_c))) (eq. 7); z = z_g ⊕ up(Linear(z_c)) (eq. 8, whose map must be upsampled, too), and
    z_f is added once more ("residual connections from the z_f to the FINet").

    Args:
        channels (int): Channels of z_f.
        prior_channels (int): C of the token maps: 768 in ViT-B/16.
        num_layers (int): L.
        merge (str): ``'mean'``, ``'group_conv'`` or ``'weighted_sum'``.
        merge_groups (int): N of ``'group_conv'``.
        merge_softmax (bool): See :class:`WeightedSumMerge`.
        residual (bool): Add z_f.

    Raises:
        ValueError: Unknown strategy; on use, token maps of another number or width.
    """

    def __init__(
        self,
        channels,
        prior_channels=768,
        num_layers=11,
        merge='weighted_sum',
        merge_groups=1,
        merge_softmax=False,
        residual=True,
    ):
        super().__init__()
        self.prior_channels, self.num_layers, self.residual = prior_channels, num_layers, residual
        if merge == 'mean':
            self.merge = MeanMerge()
        elif merge == 'group_conv':
            self.merge = GroupConvMerge(num_layers, prior_channels, merge_groups)
        elif merge == 'weighted_sum':
            self.merge = WeightedSumMerge(num_layers, merge_softmax)
        else:
            raise ValueError(f"merge must be 'mean', 'group_conv' or 'weighted_sum', got {merge!r}")
        self.gate = nn.Conv2d(prior_channels, channels, 1)
        self.linear = nn.Conv2d(prior_channels, channels, 1)  # a linear map of each token

    def forward(self, z_f, tokens_vi, tokens_ir):
        """Inject.

        Args:
            z_f (Tensor): FuNet's features, N×K×H×W.
            tokens_vi, tokens_ir (Sequence[Tensor]): CLIP's token maps of both images, L of N×C×h×w each.

        Returns:
            Tensor: z, N×K×H×W.
        """
        self._check(tokens_vi)
        z_c = self.merge(combine_modalities(tokens_vi, tokens_ir))
        gate, linear = (
            F.interpolate(m, z_f.shape[2:], mode='bilinear', align_corners=False)
            for m in (self.gate(z_c), self.linear(z_c))
        )
        z = z_f * torch.sigmoid(gate) + linear
        return z + z_f if self.residual else z

    def _check(self, tokens):
        if len(tokens) != self.num_layers or tokens[0].shape[1] != self.prior_channels:
            width = f' of {tokens[0].shape[1]} channels' if len(tokens) else ''
            raise ValueError(
                f'GFFusion was built for {self.num_layers} layers of {self.prior_channels} channels, the prior gave '
                f'{len(tokens)}{width}. Set prior_layers and prior_channels of the network to the layers and the width of '
                'the prior.'
            )


@MODELS.register_module()
class GFFusion(nn.Module):
    """Networks of GFFusion that fuse: FuNet and FINet.

    FuNet: for each modality a 3×3 convolution with LeakyReLU and gradient residual dense blocks (eq. 5); their outputs,
    concatenated, are z_f. After the injection, 3×3 convolutions with BN and LeakyReLU give the fused image; the last one
    has Tanh instead, mapped to [0, 1] by (x + 1) / 2.

    Args:
        channels (Sequence[int]): Channels of a modality after the first convolution and after each GRDB. The paper's are
            16, 48, with one GRDB; SeAFusion, whose block it is, has 16, 32, 48.
        decoder_channels (Sequence[int]): Channels between z_f and the image (SeAFusion's).
        injection (bool): FINet. Without it no prior is needed, and z = z_f.
        prior_channels (int): Width of CLIP's tokens.
        prior_layers (int): L, the number of CLIP's layers.
        merge, merge_groups, merge_softmax, residual: See :class:`FINet`.
        negative_slope (float): Of the LeakyReLUs, which the paper does not give; SeAFusion's 0.2.

    Raises:
        ValueError: Unknown merging strategy; on use, the prior is missing or does not fit.
    """

    def __init__(
        self,
        channels=(16, 48),
        decoder_channels=(64, 32, 16),
        injection=True,
        prior_channels=768,
        prior_layers=11,
        merge='weighted_sum',
        merge_groups=1,
        merge_softmax=False,
        residual=True,
        negative_slope=0.2,
    ):
        super().__init__()
        self.encoder = build_encoders(channels, negative_slope)
        width = 2 * channels[-1]
        self.finet = (
            FINet(width, prior_channels, prior_layers, merge, merge_groups, merge_softmax, residual)
            if injection
            else None
        )
        self.decoder = build_decoder((width, *decoder_channels), negative_slope)

    def forward(self, vi, ir, prior=None):
        """Fuse.

        Args:
            vi, ir (Tensor): Luminance of the visible image and infrared image, N×1×H×W in [0, 1].
            prior (dict, optional): ``vi`` and ``ir``, the CLIP features of both images, with their ``tokens``, L maps of
                N×C×h×w. Not needed without FINet.

        Returns:
            Tensor: N×1×H×W in [0, 1].
        """
        z = torch.cat([self.encoder['vi'](vi), self.encoder['ir'](ir)], dim=1)
        if self.finet is not None:
            if prior is None:
                raise ValueError(
                    "GFFusion needs CLIP's tokens (for FINet): give the fuser prior=dict(type='mmfusion.CLIPPrior', ..., "
                    'layers=...), or the network injection=False.'
                )
            z = self.finet(z, prior['vi'].tokens, prior['ir'].tokens)
        return self.decoder(z)
