"""MGFusion: CLIP embeddings guide the fusion of Restormer features.

The paper's equations are missing from the text at hand; what is stated there and what is our reading is told in
docs/methods/mgfusion.md. No public code is known.
"""

from types import MappingProxyType

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmfusion.models.layers import UnitTanh, sobel_magnitude
from mmfusion.registry import MODELS


def feature_layer(cin, cout):
    """Feature extraction layer (section 3.2): 3×3 convolution of stride 1, BN, LeakyReLU."""
    return ConvModule(cin, cout, 3, padding=1, norm_cfg=dict(type='BN'), act_cfg=dict(type='LeakyReLU'))


def conv_pair(channels):
    """Make SEP's and SAWP's two 3×3 convolutions with one ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


class Adapter(nn.Sequential):
    """Two linear layers from a CLIP embedding to channels.

    Args:
        embed_dim (int): E.
        channels (int): C.
        hidden (int, optional): Width between the layers; C by default.
        relu (bool): A ReLU between them. The paper speaks of "two linear mapping layers" only.
    """

    def __init__(self, embed_dim, channels, hidden=None, relu=False):
        hidden = hidden or channels
        layers = [nn.Linear(embed_dim, hidden), nn.Linear(hidden, channels)]
        if relu:
            layers.insert(1, nn.ReLU(inplace=True))
        super().__init__(*layers)


def embeddings_of(prior, embed_dim, part):
    """Give a prior's image embeddings.

    Args:
        prior (dict): ``vi`` and ``ir``, :class:`PriorFeatures` of both images with their ``embedding``.
        embed_dim (int): E.
        part (str): Who asks.

    Returns:
        tuple[Tensor, Tensor]: Of the visible and the infrared images, N×E each.

    Raises:
        ValueError: If the prior is missing or its embeddings do not fit.
    """
    if prior is None:
        raise ValueError(
            f"{part} needs a prior's image embeddings: give the fuser priors=dict(prior=dict(type='mmfusion.CLIPPrior', "
            f'..., embedding=True)), or leave {part} out.'
        )
    embeddings = tuple(prior[m].embedding for m in ('vi', 'ir'))
    if any(e is None or e.shape[1] != embed_dim for e in embeddings):
        found = ['none' if e is None else f'{e.shape[1]} dimensions' for e in embeddings]
        raise ValueError(
            f'{part} was built for embeddings of embed_dim={embed_dim}, the prior gave {found[0]} (visible) and '
            f'{found[1]} (infrared). Set embedding=True in the prior, and embed_dim of {part} to its model.'
        )
    return embeddings


@MODELS.register_module()
class CII(nn.Module):
    """CLIP-driven information injection into the features of one modality (section 3.2, Fig. 2).

    c = Adapter(w_v ⊙ c_v + w_i ⊙ c_i) with w_v + w_i = 1; s = sigmoid(SEP(F)); F̂ = F + s ⊙ c, c broadcast over the pixels.

    Args:
        channels (int): C.
        embed_dim (int): E.
        adapter (dict, optional): Options of :class:`Adapter`.
    """

    def __init__(self, channels, embed_dim=512, adapter=None):
        super().__init__()
        self.embed_dim = embed_dim
        # w_i, one weight for each dimension: the paper multiplies by the Hadamard product. Both modalities begin alike.
        self.weight_ir = nn.Parameter(torch.full((embed_dim,), 0.5))
        self.adapter = Adapter(embed_dim, channels, **(adapter or {}))
        self.sep = conv_pair(channels)

    def forward(self, x, prior):
        """Inject.

        Args:
            x (Tensor): Features F of one modality, N×C×H×W.
            prior (dict): See :func:`embeddings_of`.

        Returns:
            Tensor: N×C×H×W.
        """
        embed_vi, embed_ir = embeddings_of(prior, self.embed_dim, 'CII')
        c = self.adapter((1 - self.weight_ir) * embed_vi + self.weight_ir * embed_ir)
        return x + torch.sigmoid(self.sep(x)) * c[:, :, None, None]


@MODELS.register_module()
class CFF(nn.Module):
    """CLIP-guided feature fusion (section 3.3, Fig. 3).

    F_f = [IRA(c_i) ⊙ F̂_i, VIA(c_v) ⊙ F̂_v]; W_g = sigmoid(SAWP(|∇F_f|)) with Sobel gradients; F̂_f = F_f + W_g ⊙ F_f.

    Args:
        channels (int): C.
        embed_dim (int): E.
        adapter (dict, optional): Options of :class:`Adapter`.
    """

    def __init__(self, channels, embed_dim=512, adapter=None):
        super().__init__()
        self.embed_dim = embed_dim
        self.ira = Adapter(embed_dim, channels, **(adapter or {}))
        self.via = Adapter(embed_dim, channels, **(adapter or {}))
        self.sawp = conv_pair(2 * channels)

    def forward(self, vi, ir, prior):
        """Fuse.

        Args:
            vi, ir (Tensor): Features, N×C×H×W.
            prior (dict): See :func:`embeddings_of`.

        Returns:
            Tensor: N×2C×H×W, infrared first.
        """
        embed_vi, embed_ir = embeddings_of(prior, self.embed_dim, 'CFF')
        a_ir, a_vi = self.ira(embed_ir), self.via(embed_vi)
        fused = torch.cat([a_ir[:, :, None, None] * ir, a_vi[:, :, None, None] * vi], dim=1)
        return fused + torch.sigmoid(self.sawp(sobel_magnitude(fused))) * fused


@MODELS.register_module()
class MGFusion(nn.Module):
    """Network of MGFusion: two encoders, CII on each, CFF, decoder.

    Encoders (IRE, VIE): two feature extraction layers, N Restormer blocks. Decoder (FD): N Restormer blocks, one feature
    extraction layer, 3×3 convolution, Tanh; it sees 2C channels. Tanh's [−1, 1] is mapped to [0, 1] by (x + 1) / 2.

    Args:
        channels (int): C. The paper does not give it.
        num_blocks (int): N, which the paper does not give either. The defaults are about what its batch of 16
            patches of 256×256 leaves room for on its GPU of 24 GB.
        block (dict, optional): Config of the blocks, built with ``channels``. Default: :class:`RestormerBlock` with two
            heads (not given).
        cii (dict, optional): Config of what injects the prior's features into those of one modality, built with
            ``channels``; its ``forward(x, prior)`` gives features of the same shape. Default: :class:`CII`. With None the
            encoders' features go straight into CFF (section 4.5).
        cff (dict, optional): Config of what fuses both, built with ``channels``; its ``forward(vi, ir, prior)`` gives twice
            the channels. Default: :class:`CFF`. With None they are concatenated (section 4.5).
    """

    def __init__(
        self,
        channels=16,
        num_blocks=2,
        block=MappingProxyType(dict(type='mmfusion.RestormerBlock', num_heads=2)),
        cii=MappingProxyType(dict(type='mmfusion.CII')),
        cff=MappingProxyType(dict(type='mmfusion.CFF')),
    ):
        super().__init__()

        def blocks(width):
            return [MODELS.build(dict(block, channels=width)) for _ in range(num_blocks)]

        self.encoder = nn.ModuleDict(
            {
                m: nn.Sequential(feature_layer(1, channels), feature_layer(channels, channels), *blocks(channels))
                for m in ('vi', 'ir')
            }
        )
        self.cii = nn.ModuleDict({m: MODELS.build(dict(cii, channels=channels)) for m in ('vi', 'ir')}) if cii else None
        self.cff = MODELS.build(dict(cff, channels=channels)) if cff else None
        self.decoder = nn.Sequential(
            *blocks(2 * channels),
            feature_layer(2 * channels, channels),
            nn.Conv2d(channels, 1, 3, padding=1),
            UnitTanh(),
        )

    def forward(self, vi, ir, prior=None):
        """Fuse.

        Args:
            vi, ir (Tensor): Luminance of the visible image and infrared image, N×1×H×W in [0, 1].
            prior (dict, optional): ``vi`` and ``ir``, the prior's features of both images. Not needed without CII and CFF.

        Returns:
            Tensor: N×1×H×W in [0, 1].
        """
        x = {'vi': self.encoder['vi'](vi), 'ir': self.encoder['ir'](ir)}
        if self.cii is not None:
            x = {m: self.cii[m](f, prior) for m, f in x.items()}
        fused = self.cff(x['vi'], x['ir'], prior) if self.cff is not None else torch.cat([x['ir'], x['vi']], dim=1)
        return self.decoder(fused)
