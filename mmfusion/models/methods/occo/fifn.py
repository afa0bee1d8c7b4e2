"""FIFN, OCCO's feature interaction fusion network (section 3.1, Fig. 2)."""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.models.layers.min_max import min_max_normalize
from mmfusion.models.layers.padding import exporting, gather_reflected
from mmfusion.registry import MODELS

from .fast import FastFIFB, fold_norm
from .fifb import BatchNorm
from .official import from_official, to_official
from .tiled import TiledFusion


class ConvUnits(nn.Sequential):
    """Two conv units: (3×3 conv, BN, ReLU) twice, or without BN.

    With fixed statistics (eval mode) each BN is folded into its convolution.

    Args:
        cin, cout (int): Channels.
        norm (bool): Whether there is BN.
    """

    def __init__(self, cin, cout, norm=True):
        layers = []
        for i in (cin, cout):
            layers += [nn.Conv2d(i, cout, 3, padding=1)]
            layers += [BatchNorm(cout)] if norm else []
            layers += [nn.ReLU(inplace=True)]
        super().__init__(*layers)
        self.step = 3 if norm else 2

    def forward(self, x):
        """N×cin×H×W → N×cout×H×W."""
        if self.step == 2 or not self[1].is_affine:
            return super().forward(x)
        layers = list(self)
        for conv, norm, relu in zip(layers[0::3], layers[1::3], layers[2::3], strict=True):
            x = relu(F.conv2d(x, *fold_norm(conv.weight, conv.bias, norm), padding=conv.padding))
        return x


def reflect_to(x, size):
    """Pad to ``size`` by reflecting what an odd size lost."""
    dy, dx = size[0] - x.shape[2], size[1] - x.shape[3]
    if exporting():
        return gather_reflected(x, (0, 0), (dy, dx))
    return F.pad(x, (0, dx, 0, dy), mode='reflect') if dx or dy else x


def upsample(x, level):
    """Double a whole map's size; ``level`` is that of the result."""
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)


class UpConv(nn.Module):
    """Upconv block of the decoder: concatenate the skip, two conv units.

    Args:
        cin (int): Channels from below.
        skip (int): Channels of the skip feature, and of the output.
        norm (bool): BN in the conv units (paper); the public code has none.
    """

    def __init__(self, cin, skip, norm=False):
        super().__init__()
        self.conv = ConvUnits(cin + skip, skip, norm)

    def forward(self, up, skip):
        """N×cin×h×w, doubled already, and N×skip×H×W → N×skip×H×W."""
        return self.conv(torch.cat([skip, reflect_to(up, skip.shape[2:])], dim=1))


@MODELS.register_module()
class FIFN(nn.Module):
    """Feature interaction fusion network of OCCO.

    Two encoders of four conv blocks, a FIFB on each level, a decoder of three upconv blocks, a 1×1 conv, and a min-max
    stretch to [0, 1]: over the batch (of all ranks) in training, over each image at test time, or always over each image.

    Args:
        channels (Sequence[int]): Channels of the four levels. The paper gives none; 32, 64, 112, 160 are the public
            code's (3.62 M parameters).
        num_heads (Sequence[int]): Heads of the cross attention on each level (public code).
        variant (str): ``'official'`` follows the public code, ``'paper'`` the text where the two differ: see
            :class:`FIFB`, and BN in the decoder's conv units.
        fifb (dict, optional): Options of the block on each level, :class:`FIFB` computed fast, such as ``spatial=False``
            (Table 8). With a ``type`` it is the config of another block, built with ``channels`` and ``num_heads`` of the
            level; its ``forward(vi, ir)`` fuses two features N×C×H×W.
        stretch (str): What is stretched to [0, 1] in training: the ``'batch'`` (public code) or each ``'image'``, as at
            test time. A task model that is trained behind the network wants the latter: stretched by the batch, most
            images are of lower contrast than those that it will be tested on.
        test_norm (str): What batch norms subtract and divide by in tests: ``'running'`` statistics, or those of each
            ``'image'``. The public test script never leaves training mode and takes one image at a time, so that its
            results are those of the latter.

    Raises:
        ValueError: If there are not four levels, ``stretch`` or ``test_norm`` is unknown, ``test_norm='image'`` is asked of
            the paper's variant, or an image is smaller than 8×8.
    """

    min_size = 8

    def __init__(
        self,
        channels=(32, 64, 112, 160),
        num_heads=(4, 4, 4, 1),
        variant='official',
        fifb=None,
        stretch='batch',
        test_norm='running',
    ):
        super().__init__()
        if stretch not in ('batch', 'image'):
            raise ValueError(f"stretch must be 'batch' or 'image', got {stretch!r}")
        if test_norm not in ('running', 'image'):
            raise ValueError(f"test_norm must be 'running' or 'image', got {test_norm!r}")
        if test_norm == 'image' and variant != 'official':
            raise ValueError(
                f"test_norm='image' is how the public code tests; it needs variant='official', not {variant!r}"
            )
        self.stretch = stretch
        if len(channels) != 4 or len(num_heads) != 4:
            raise ValueError(
                f'FIFN has four levels; got {len(channels)} channels and {len(num_heads)} num_heads: '
                f'{channels}, {num_heads}'
            )
        fifb = dict(fifb or {})
        if 'type' not in fifb:
            fifb = dict(type='mmfusion.FastFIFB', variant=variant, **fifb)
        pairs = list(zip([1, *channels[:-1]], channels, strict=True))
        self.encoder = nn.ModuleDict({m: nn.ModuleList(ConvUnits(i, o) for i, o in pairs) for m in ('vi', 'ir')})
        self.fifb = nn.ModuleList(
            MODELS.build(dict(fifb, channels=c, num_heads=h)) for c, h in zip(channels, num_heads, strict=True)
        )
        self.decoder = nn.ModuleList(
            UpConv(below, skip, norm=variant == 'paper')
            for below, skip in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.final = nn.Conv2d(channels[0], 1, 1)
        self.test_norm = test_norm
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.image_statistics = test_norm == 'image'

    from_authors = staticmethod(from_official)
    to_authors = staticmethod(to_official)

    def encode(self, name, x):
        """The four features of one modality, before their pooling, finest first."""
        # In channels-last memory FIFB's tokens are views, and inference is fastest; but on a CPU the convolutions' backward
        # pass takes half the time in the other layout. (For one channel `contiguous` leaves the strides as they are.)
        training_on_cpu = self.training and not x.is_cuda
        memory_format = torch.contiguous_format if training_on_cpu else torch.channels_last
        if not exporting():  # a graph knows no layouts
            x = torch.empty_like(x, memory_format=memory_format).copy_(x)
        features = []
        for level, block in enumerate(self.encoder[name]):
            x = block(F.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features

    def decode(self, fused, upsample=upsample):
        """Fused features, finest first → N×1×H×W without normalisation; ``upsample(x, level)`` doubles the size."""
        x = fused[-1]
        for level, block in zip((2, 1, 0), self.decoder, strict=True):
            x = block(upsample(x, level), fused[level])
        return self.final(x)

    def raw(self, vi, ir):
        """The output before the min-max stretch, N×1×H×W."""
        self._check_size(vi)
        features = zip(self.encode('vi', vi), self.encode('ir', ir), strict=True)
        return self.decode([block(v, i) for block, (v, i) in zip(self.fifb, features, strict=True)])

    def _check_size(self, vi):
        if not exporting() and min(vi.shape[2:]) < self.min_size:
            raise ValueError(
                f'FIFN halves an image three times: it must be at least {self.min_size}×{self.min_size}, got '
                f'{vi.shape[2]}×{vi.shape[3]} (height×width). Pad or enlarge it first.'
            )

    def forward(self, vi, ir):
        """Fuse.

        Args:
            vi (Tensor): Luminance of the visible image, N×1×H×W in [0, 1].
            ir (Tensor): Infrared image, N×1×H×W in [0, 1].

        Returns:
            Tensor: N×1×H×W float32 in [0, 1].
        """
        return min_max_normalize(self.raw(vi, ir), per_image=not self.training or self.stretch == 'image')

    def fuse_tiled(self, vi, ir, tile):
        """As :meth:`forward` in eval mode, in the memory of a tile.

        Args:
            vi, ir (Tensor): N×1×H×W in [0, 1].
            tile (tuple[int, int]): Height and width of a tile; 88 pixels are read around each.

        Returns:
            Tensor: N×1×H×W float32 in [0, 1].

        Raises:
            ValueError: If the blocks are not :class:`FastFIFB` of the official variant, or ``test_norm`` is ``'image'``.
        """
        if self.test_norm == 'image':
            raise ValueError(
                "FIFN: with test_norm='image' batch norms need the whole image, which tiles do not have. Fuse whole images, "
                "or set exact=False in test_cfg for independent windows, or test_norm='running'."
            )
        if not all(isinstance(block, FastFIFB) and not block.paper for block in self.fifb):
            raise ValueError(
                "FIFN: tiles give the whole image's result only with FastFIFB and variant='official', whose attention is "
                'linear. Fuse whole images, or set exact=False in test_cfg for independent windows.'
            )
        self._check_size(vi)
        return TiledFusion(self, vi, ir, tile).run()
