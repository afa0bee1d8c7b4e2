"""PSFusion: fusion given semantic features step by step, with heads.

*Rethinking the Necessity of Image Fusion in High-Level Vision Tasks: A Practical Infrared and Visible Image Fusion Network
based on Progressive Semantic Injection and Scene Fidelity*; Tang, Zhang, Xu, Ma; Information Fusion 99, 2023.

Two ResNet-34 encoders. Their first three levels are fused by channel and spatial attention (SDFM), the deep three by cross
attention (PSFM). The deep ones are segmented: semantic, binary (is there an object), boundary. The fused image grows out of
the shallow ones; semantic features are injected three times (SIM), as scale and shift of normalised features. In training
both sources are reconstructed, too.

Of the public code (Linfeng-Tang/PSFusion): in the cross attention keys ask and the common query answers, so that the softmax
is over the positions of the query. Its intensity loss takes the sources in the wrong order: masked pixels are held to the
visible image. Two layers of the boundary head are never used.
"""

import math

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor, nn
from torchvision.models import ResNet34_Weights
from torchvision.models.resnet import BasicBlock

from mmfusion.models.layers import attention, sobel
from mmfusion.models.priors.weights import read_weights
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def _conv(cin: int, cout: int, size: int = 3, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, size, padding=size // 2, **kwargs)


def _unit(cin: int, cout: int, size: int = 3, act: type = nn.ReLU, norms: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, activation."""
    norm = (nn.BatchNorm2d(cout) for _ in range(norms))
    return nn.Sequential(_conv(cin, cout, size, bias=False), *norm, act(inplace=True))


def _pooled(channels: int, hidden: int) -> nn.Sequential:
    """Weights of channels from their means."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), *_squeeze(channels, hidden))


def _squeeze(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        *(_conv(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)),
        *(_conv(hidden, channels, 1), nn.BatchNorm2d(channels)),
    )


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=True)


class FReLU(nn.Module):
    """max(x, batch norm of a depth-wise convolution) (Ma et al., 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = _conv(channels, channels, groups=channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        return torch.maximum(x, self.norm(self.conv(x)))


class Encoder(nn.Module):
    """ResNet with an own stem: six levels, full size to 1/32.

    Args:
        cin: Channels of the image.
        channels: C: the levels have C/2, C, C, 2C, 4C, 8C.
        layers: Blocks of the four stages.
    """

    def __init__(self, cin: int, channels: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        c, half = channels, channels // 2
        self.stem = nn.Sequential(
            *(_conv(cin, half, 7), nn.BatchNorm2d(half), FReLU(half)),
            *(_conv(half, half), nn.BatchNorm2d(half), FReLU(half)),
        )
        self.reduce = nn.Sequential(_conv(half, c, stride=2), nn.BatchNorm2d(c), FReLU(c), _conv(c, c))
        self.norm = nn.BatchNorm2d(c)
        self.stages = nn.ModuleList()
        for k, (before, after) in enumerate(((c, c), (c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c))):
            change = None
            if k:
                change = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
            first = BasicBlock(before, after, 2 if k else 1, change)
            self.stages.append(nn.Sequential(first, *(BasicBlock(after, after) for _ in range(layers[k] - 1))))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give the levels of N×C×H×W, H and W multiples of 32."""
        levels = [self.stem(x)]
        levels.append(self.norm(self.reduce(levels[0])).relu())
        x = F.max_pool2d(levels[1], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class DetailFusion(nn.Module):
    """SDFM: add both sources' features with weights from channel and spatial attention.

    Args:
        cin, cout: Channels of a source, and of the result.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.refine = nn.ModuleDict(
            {name: nn.Sequential(_unit(cin, cout), _unit(cout, cout), _unit(cout, cout)) for name in ('vi', 'ir')}
        )
        self.recalibrate = _pooled(2 * cout, 2 * (cout // 4))
        self.aggregate = nn.Sequential(_conv(2 * cout, cout, 1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))
        self.local, self.total = _squeeze(cout, cout // 4), _pooled(cout, cout // 4)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """N×C_in×H×W each → N×C_out×H×W."""
        x = torch.cat([self.refine['vi'](vi), self.refine['ir'](ir)], 1)
        x = x + x * self.recalibrate(x).sigmoid()
        vi, ir = x.chunk(2, dim=1)
        x = self.aggregate(x)
        return torch.lerp(ir, vi, torch.sigmoid(self.local(x) * self.total(x)))


class DenseUnits(nn.Module):
    """Four convolutions, each of all before, beside the features themselves."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        growth = cout // 4
        self.down = _conv(cin, growth, 1)
        self.dense = nn.ModuleList(_unit(k * growth, growth) for k in range(1, 5))
        self.merge = _unit(cin + growth, cout)

    def forward(self, x: Tensor) -> Tensor:
        """N×C_in×H×W → N×C_out×H×W."""
        down, features = self.down(x), []
        for layer in self.dense:
            features.append(layer(torch.cat([*features, down], 1)))
        return self.merge(torch.cat([x, features[-1]], 1))


class SemanticFusion(nn.Module):
    """PSFM: cross attention with one query of both sources.

    Args:
        cin, cout: Channels of a source, and of the result.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        names = ('vi', 'ir')
        self.dense = nn.ModuleDict({name: DenseUnits(cin, cout) for name in names})
        self.query, self.merge = _unit(2 * cout, cout), _unit(2 * cout, cout)
        self.key, self.value = (nn.ModuleDict({name: _unit(cout, cout) for name in names}) for _ in range(2))
        self.gate = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in names})

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """N×C_in×H×W each → N×C_out×H×W."""
        x = dict(vi=self.dense['vi'](vi), ir=self.dense['ir'](ir))
        query = self._tokens(self.query(torch.cat([x['vi'], x['ir']], 1)))
        given = {}
        for name, features in x.items():
            key, value = (self._tokens(part[name](features)) for part in (self.key, self.value))
            out = attention(key, query, value, scale=1.0)  # the keys ask
            given[name] = self.gate[name] * out.mT.reshape(features.shape)
        return self.merge(torch.cat([given['vi'] + x['ir'], given['ir'] + x['vi']], 1))

    @staticmethod
    def _tokens(x: Tensor) -> Tensor:
        return x.flatten(2).mT.contiguous()


class SemanticInjection(nn.Module):
    """SIM: normalise features, then scale and shift by other features.

    Args:
        channels: Of the features, and of the layer between.
        guide: Channels of the other features, of any size.
    """

    def __init__(self, channels: int, guide: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(_conv(guide, channels), nn.ReLU())
        self.scale, self.shift = _conv(channels, channels), _conv(channels, channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        guide = self.shared(F.interpolate(guide, x.shape[2:], mode='bilinear'))
        return self.norm(F.instance_norm(x) * (1 + self.scale(guide).sigmoid())) + self.shift(guide)


class DenseReconstruction(nn.Module):
    """DSRM: four convolutions, each of all before; the last gives the result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(_unit((k + 1) * channels, channels, norms=2) for k in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        features = [x]
        for unit in self.units:
            features.append(unit(torch.cat(features, 1)))
        return features[-1]


class SourceHead(nn.Module):
    """Reconstruct a source from features, masked by local and total attention (S2M)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = []
        for _ in range(3):
            layers += [_conv(channels, channels, groups=channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.local, self.total = nn.Sequential(*layers[:-1]), _pooled(channels, channels // 4)
        self.norm, self.conv = nn.BatchNorm2d(channels), _conv(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → N×1×H×W in (0, 1)."""
        x = self.norm(x * torch.sigmoid(self.local(x) * self.total(x)))
        return (self.conv(x).tanh() + 1) / 2


class SegmentationHeads(nn.Module):
    """S2P2: binary, semantic and boundary logits, from features of quarter size.

    Args:
        channels: Of the features.
        num_classes: Of the semantic logits.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        c, hidden = channels, channels // 4
        self.binary = nn.Sequential(_unit(c, hidden, 1, nn.ReLU6), _conv(hidden, 2))
        self.features, self.semantic = _unit(c, c, 1, nn.ReLU6), _conv(c, num_classes)
        edge = (_conv(2 * c, c, 1), nn.BatchNorm2d(c), nn.ReLU6(inplace=True))
        self.boundary = nn.Sequential(*edge, _conv(c, 2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Give ``seg_logits``; in training also ``binary_logits`` and ``boundary_logits``; all of full size."""
        binary = self.binary(x)
        features = self.features(_upsample(x * binary.softmax(1)[:, 1:], 2))
        out = dict(seg_logits=_upsample(self.semantic(features), 2))
        if self.training:
            boundary = self.boundary(torch.cat([features, _upsample(x, 2)], 1))
            out.update(binary_logits=_upsample(binary, 4), boundary_logits=_upsample(boundary, 2))
        return out


@MODELS.register_module()
class PSFusion(nn.Module):
    """Fuse a colour image and an infrared one, and segment them.

    Height and width must be multiples of 32 (``size_divisor=32``).

    Args:
        num_classes: Of the segmentation.
        channels: C of the encoders; a multiple of 8.
        layers: Blocks of the encoders' stages; ResNet-34's by default.
        pretrained: ImageNet weights of the encoders' stages in training: ``'imagenet'`` (torchvision's ResNet-34,
            downloaded), a file or URL of its state dict, or None.

    Raises:
        FileNotFoundError: If ``pretrained`` is no file.
        RuntimeError: If the download failed.
    """

    training_only = ('pretrained',)  # a checkpoint has the encoders

    def __init__(
        self,
        num_classes: int = 9,
        channels: int = 64,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        c, half = channels, channels // 2
        self.encoder = nn.ModuleDict({name: Encoder(cin, c, layers) for name, cin in (('vi', 3), ('ir', 1))})
        self.detail = nn.ModuleList([DetailFusion(half, half), DetailFusion(c, half), DetailFusion(c, c)])
        self.semantic = nn.ModuleList(SemanticFusion(k * c, c) for k in (2, 4, 8))
        self.lift = nn.ModuleList(_conv(c, c) for _ in range(4))
        self.segmenter = nn.Sequential(_unit(4 * c, c, norms=2), _unit(c, c, norms=2), _unit(c, c, norms=2))
        self.heads = SegmentationHeads(c, num_classes)
        self.inject = nn.ModuleList(SemanticInjection(half, guide) for guide in (c, half, c))
        self.reconstruct = nn.ModuleList(DenseReconstruction(half) for _ in range(2))
        self.head = _conv(half, 1)
        self.source = nn.ModuleDict({name: SourceHead(half) for name in ('vi', 'ir')})
        if pretrained:
            self._load_imagenet(pretrained)

    def _load_imagenet(self, pretrained: str) -> None:
        urls = dict(imagenet=ResNet34_Weights.IMAGENET1K_V1.url)
        option = 'pretrained (in the configs: MMFUSION_RESNET34), or None without'
        state = read_weights(pretrained, 'resnet34', option, urls, random=False)
        for encoder in self.encoder.values():
            for part, prefix in (
                (encoder.norm, 'bn1.'),
                *((s, f'layer{k + 1}.') for k, s in enumerate(encoder.stages)),
            ):
                part.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def forward(self, vi_rgb: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse and segment.

        Args:
            vi_rgb: N×3×H×W in [0, 1].
            ir: N×1×H×W.

        Returns:
            ``fused``, N×1×H×W in (0, 1), and ``seg_logits``, N×classes×H×W; in training also ``binary_logits`` and
            ``boundary_logits``, N×2×H×W, and ``vi_rebuilt`` and ``ir_rebuilt``, N×1×H×W in (0, 1).

        Raises:
            ValueError: If height or width is no multiple of 32.
        """
        if any(length % 32 for length in ir.shape[2:]):
            raise ValueError(f'PSFusion: images of {tuple(ir.shape[2:])} are no multiples of 32; set size_divisor=32')
        levels = list(zip(self.encoder['vi'](vi_rgb), self.encoder['ir'](ir), strict=True))
        full, half, quarter, *deep = (
            fuse(*pair) for fuse, pair in zip((*self.detail, *self.semantic), levels, strict=True)
        )
        semantic = [conv(x) for conv, x in zip(self.lift, (quarter, *deep), strict=True)]
        semantic = self.segmenter(torch.cat([_upsample(x, 2**k) for k, x in enumerate(semantic)], 1))
        image = self.inject[1](full, self.inject[0](half, quarter))
        image = self.reconstruct[1](self.inject[2](self.reconstruct[0](image), semantic))
        out = dict(fused=(self.head(image).tanh() + 1) / 2, **self.heads(semantic))
        if self.training:
            out.update({f'{name}_rebuilt': head(image) for name, head in self.source.items()})
        return out

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; optimizer and unused layers are dropped.

        Raises:
            KeyError: If the file is of another network.
        """
        if not any('encoder_thermal_conv1' in name for name in state):
            raise KeyError('encoder_thermal_conv1: a PSFusion checkpoint has layers of this name, and this one has not')
        names = {'MTAN.': '', '.basicconv.': '.', 'conv_frelu': 'conv', 'bn_frelu': 'norm'}
        for theirs, ours in (('rgb', 'vi'), ('thermal', 'ir')):
            names |= {f'encoder_{theirs}_conv1.SFEB{k}': f'encoder.{ours}.{x}' for k, x in ((1, 'stem'), (2, 'reduce'))}
            names |= {f'encoder_{theirs}_layer{k + 3}': f'encoder.{ours}.stages.{k}' for k in range(4)}
            names |= {f'encoder_{theirs}_bn1': f'encoder.{ours}.norm'}
        names |= {f'low_fuse{k + 1}': f'detail.{k}' for k in range(3)}
        names |= {f'high_fuse{k + 4}': f'semantic.{k}' for k in range(3)}
        for theirs, ours in (('RGB', 'vi'), ('Inf', 'ir')):
            names |= {f'{theirs}obj1_1': f'refine.{ours}.0', f'{theirs}obj1_2': f'refine.{ours}.1'}
            names |= {f'{theirs}spr': f'refine.{ours}.2', f'{theirs}obj': f'dense.{ours}'}
            names |= {f'{theirs.upper()}_K': f'key.{ours}', f'{theirs.upper()}_V': f'value.{ours}'}
        names |= {'.denseblock.': '.dense.', '.fuse.': '.merge.', '.obj_fuse.': '.', '.Q.': '.query.'}
        names |= {'Second_reduce': 'merge', 'gamma1': 'gate.vi', 'gamma2': 'gate.ir', 'Recalibrate': 'recalibrate'}
        names |= {'channel_agg': 'aggregate', 'local_att': 'local', 'global_att': 'total'}
        names |= {f'SIM{k + 1}': f'inject.{k}' for k in range(3)} | {
            f'to_fused_seg.{k}.0': f'lift.{k}' for k in range(4)
        }
        names |= {'mlp_shared': 'shared', 'mlp_gamma.0': 'scale', 'mlp_beta': 'shift'}
        names |= {f'inject.{k}.bn': f'inject.{k}.norm' for k in range(3)}
        names |= {
            'seg_rec_decoder': 'reconstruct.1.units',
            'rec_decoder': 'reconstruct.0.units',
            'seg_decoder': 'segmenter',
        }
        for k in range(4):
            names |= {f'block{k + 1}.1': f'{k}.2', f'block{k + 1}.0.conv': f'{k}.0', f'block{k + 1}.0.bn': f'{k}.1'}
        names |= {'classfier': 'heads', 'semantic_conv1.conv': 'features.0', 'semantic_conv1.bnop': 'features.1'}
        names |= {'binary_conv1.conv': 'binary.0.0', 'binary_conv1.bnop': 'binary.0.1', 'binary_conv2': 'binary.1'}
        names |= {'semantic_conv2': 'semantic', 'boundary_conv': 'boundary'}
        names |= {'pred_fusion.conv_block.0': 'head', 'pred_vi': 'source.vi', 'pred_ir': 'source.ir'}
        names |= {'mask.conv_block': 'norm', '.mask.': '.', 'conv_block.0': 'conv'}
        state = {
            name: value
            for name, value in state.items()
            if not (name.startswith('optimizer.') or 'boundary_conv1.' in name or 'boundary_conv2.' in name)
        }
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class PSFusionLoss(nn.Module):
    """Compute losses of fusion, both reconstructions and three segmentations.

    Fusion: 1 / (r(f, vi) + r(f, ir)) with correlations over the batch, 10 Σ ‖ |∂f| − max(|∂vi|, |∂ir|) ‖₁ over both Sobel
    derivatives, and 10 times the squared error, averaged over 9×9 pixels, to the source with more local contrast (variance
    in a Gaussian window, σ 1.5), or to the visible image where ``mask`` is set. Reconstruction of each source: 5 times the
    mean absolute error, and 5 times that of second derivatives. Segmentation: 10 times cross-entropy of the hard pixels
    (below a probability of 0.75, or the hardest ones), 10 times binary cross-entropy of objects (labels above 0; positive
    weights 1.4548 and 19.8962), 10 times that of boundaries (pixels with another label beside them).

    Args:
        hard_share: Least share of hard pixels. The public code's is 65,536 pixels, of four patches of 256×256.
        ignore_index: Label without loss.
        loss_weight: Factor on the loss.
    """

    def __init__(self, hard_share: float = 0.25, ignore_index: int = 255, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.hard_share, self.ignore_index, self.loss_weight = hard_share, ignore_index, loss_weight
        self.register_buffer('positive', torch.tensor([1.4548, 19.8962]).view(1, 2, 1, 1), persistent=False)

    def forward(
        self,
        fused: Tensor,
        vi_rebuilt: Tensor,
        ir_rebuilt: Tensor,
        seg_logits: Tensor,
        binary_logits: Tensor,
        boundary_logits: Tensor,
        vi: Tensor,
        ir: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and its terms.

        Args:
            fused, vi_rebuilt, ir_rebuilt, vi, ir: N×1×H×W in [0, 1].
            seg_logits, binary_logits, boundary_logits: N×classes×H×W, N×2×H×W.
            labels: N×H×W.
            mask: N×1×H×W, a companion; optional.
        """
        terms = dict(
            fusion=self.fusion(fused, vi, ir, mask),
            rebuilt=self.rebuilt(vi_rebuilt, vi) + self.rebuilt(ir_rebuilt, ir),
            semantic=10 * self.semantic(seg_logits, labels),
            binary=10 * self.two_classes(binary_logits, (labels > 0) & (labels != self.ignore_index), self.positive),
            boundary=10 * self.two_classes(boundary_logits, boundaries(labels)),
        )
        return self.loss_weight * sum(terms.values()), {name: term.detach() for name, term in terms.items()}

    @staticmethod
    def fusion(fused: Tensor, vi: Tensor, ir: Tensor, mask: Tensor | None) -> Tensor:
        """Compute the fusion term; see the class."""
        correlation = sum(torch.corrcoef(torch.stack([fused.flatten(), x.flatten()]))[0, 1] for x in (vi, ir))
        gradient = 0.0
        for of_fused, *of_sources in zip(*(sobel(x) for x in (fused, vi, ir)), strict=True):
            gradient = gradient + F.l1_loss(of_fused.abs(), torch.maximum(*(g.abs() for g in of_sources)))
        contrast_vi, contrast_ir = (_gaussian(x * x) - _gaussian(x) ** 2 for x in (vi, ir))
        from_vi = contrast_vi > contrast_ir
        if mask is not None:
            from_vi = from_vi | (mask > 0)
        errors = (F.avg_pool2d((fused - x) ** 2, 9, 1, 4) for x in (vi, ir))
        return 1 / (correlation + 1e-6) + 10 * gradient + 10 * torch.where(from_vi, *errors).mean()

    @staticmethod
    def rebuilt(image: Tensor, source: Tensor) -> Tensor:
        """Compute the reconstruction term of one source; see the class."""
        of_image, of_source = (spatial_gradient(x, order=2).abs().sum((1, 2)) for x in (image, source))
        return 5 * F.l1_loss(image, source) + 5 * F.l1_loss(of_image, of_source)

    def semantic(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Average the cross-entropy of the hard pixels."""
        losses = F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction='none').flatten()
        hard = losses[losses > -math.log(0.75)]
        least = max(1, int(self.hard_share * losses.numel()))
        return hard.mean() if len(hard) > least else losses.topk(least).values.mean()

    @staticmethod
    def two_classes(logits: Tensor, positive: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the binary cross-entropy of two logits against a mask, N×H×W."""
        target = torch.stack([~positive, positive], 1).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


def boundaries(labels: Tensor) -> Tensor:
    """Find pixels of N×H×W labels with another label beside them."""
    x = F.pad(labels[:, None].float(), (1, 1, 1, 1), mode='replicate')
    return (F.max_pool2d(x, 3, 1) != -F.max_pool2d(-x, 3, 1))[:, 0]


def _gaussian(x: Tensor) -> Tensor:
    return gaussian_blur2d(x, (9, 9), (1.5, 1.5), border_type='constant')
