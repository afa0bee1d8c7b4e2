"""GFFusion: FuNet, and FINet, which injects CLIP features into it.

The third part, SSNet, is a stock segmenter in a cascade. No public code is known; what is stated in the paper and what is
our reading is told in docs/methods/gffusion.md.
"""

from types import MappingProxyType

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
        num_layers (int): L. The weights begin at 1 / L, and are free: the paper says of Group-Conv only that they sum to 1.
    """

    def __init__(self, num_layers):
        super().__init__()
        self.omega = nn.Parameter(torch.full((num_layers,), 1 / num_layers))

    def forward(self, features):
        """N×L×C×h×w → N×C×h×w."""
        return torch.einsum('nlchw,l->nchw', features, self.omega)


class GroupConvMerge(nn.Module):
    """z_c = ω_1 GroupConv(f_1, …, f_{L/N}) + … + ω_N GroupConv(…, f_L), Σω = 1 (section III-B.3, "Group-Conv").

    GroupConv is a group convolution with BN. Our reading: 1×1, with one group a channel, so that an output channel sees the
    same channel of all layers of its group. Where N does not divide L, the first groups have a layer more (11 = 6 + 5).

    Args:
        num_layers (int): L.
        channels (int): C.
        num_groups (int): N.

    Raises:
        ValueError: If N is not between 1 and L.
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


@MODELS.register_module()
class FINet(nn.Module):
    """Feature injection network χ: CLIP's layers into z_f (section III-B).

    z_g = z_f ⊗ σ(up(Conv1×1(z_c))) (eq. 7); z = z_g ⊕ up(Linear(z_c)) (eq. 8, whose map must be upsampled, too), and
    z_f is added once more ("residual connections from the z_f to the FINet").

    Args:
        channels (int): Channels of z_f.
        prior_channels (int): C of the token maps: 768 in ViT-B/16.
        num_layers (int): L.
        merge (str): ``'mean'``, ``'group_conv'`` or ``'weighted_sum'``.
        merge_groups (int): N of ``'group_conv'``.

    Raises:
        ValueError: If the strategy is unknown; on use, if the prior is missing or its token maps are of another number or
            width.
    """

    def __init__(self, channels, prior_channels=768, num_layers=11, merge='weighted_sum', merge_groups=1):
        super().__init__()
        self.prior_channels, self.num_layers = prior_channels, num_layers
        if merge == 'mean':
            self.merge = MeanMerge()
        elif merge == 'group_conv':
            self.merge = GroupConvMerge(num_layers, prior_channels, merge_groups)
        elif merge == 'weighted_sum':
            self.merge = WeightedSumMerge(num_layers)
        else:
            raise ValueError(f"merge must be 'mean', 'group_conv' or 'weighted_sum', got {merge!r}")
        self.gate = nn.Conv2d(prior_channels, channels, 1)
        self.linear = nn.Conv2d(prior_channels, channels, 1)  # a linear map of each token

    def forward(self, x, prior):
        """Inject.

        Args:
            x (Tensor): Features z_f, N×K×H×W.
            prior (dict): ``vi`` and ``ir``, :class:`PriorFeatures` of both images with their ``tokens``, L of N×C×h×w.

        Returns:
            Tensor: z, N×K×H×W.
        """
        tokens_vi, tokens_ir = self._tokens(prior)
        z_c = self.merge(combine_modalities(tokens_vi, tokens_ir))
        gate, linear = (
            F.interpolate(m, x.shape[2:], mode='bilinear', align_corners=False)
            for m in (self.gate(z_c), self.linear(z_c))
        )
        return x * torch.sigmoid(gate) + linear + x

    def _tokens(self, prior):
        if prior is None:
            raise ValueError(
                "FINet needs a prior's tokens: give the fuser priors=dict(prior=dict(type='mmfusion.CLIPPrior', ..., "
                'layers=...)), or the network injection=None.'
            )
        tokens = prior['vi'].tokens
        if len(tokens) != self.num_layers or tokens[0].shape[1] != self.prior_channels:
            width = f' of {tokens[0].shape[1]} channels' if len(tokens) else ''
            raise ValueError(
                f'FINet was built for {self.num_layers} layers of {self.prior_channels} channels, the prior gave '
                f'{len(tokens)}{width}. Set num_layers and prior_channels of FINet to the layers and the width of the '
                'prior.'
            )
        return tokens, prior['ir'].tokens


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
        injection (dict, optional): Config of what injects a prior's features into z_f, built with ``channels``; its
            ``forward(x, prior)`` gives features of the same shape. Default: :class:`FINet`. With None, z = z_f, and no
            prior is needed.
        negative_slope (float): Slope of the LeakyReLUs, which the paper does not give; SeAFusion's 0.2.
        block (dict, optional): See :func:`build_encoders`.
    """

    def __init__(
        self,
        channels=(16, 48),
        decoder_channels=(64, 32, 16),
        injection=MappingProxyType(dict(type='mmfusion.FINet')),
        negative_slope=0.2,
        block=None,
    ):
        super().__init__()
        self.encoder = build_encoders(channels, negative_slope, block)
        width = 2 * channels[-1]
        self.finet = MODELS.build(dict(injection, channels=width)) if injection else None  # or what is in its place
        self.decoder = build_decoder((width, *decoder_channels), negative_slope)

    def forward(self, vi, ir, prior=None):
        """Fuse.

        Args:
            vi, ir (Tensor): Luminance of the visible image and infrared image, N×1×H×W in [0, 1].
            prior (dict, optional): ``vi`` and ``ir``, the prior's features of both images. Not needed without injection.

        Returns:
            Tensor: N×1×H×W in [0, 1].
        """
        z = torch.cat([self.encoder['vi'](vi), self.encoder['ir'](ir)], dim=1)
        if self.finet is not None:
            z = self.finet(z, prior)
        return self.decoder(z)
