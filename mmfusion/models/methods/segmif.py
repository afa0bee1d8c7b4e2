"""SegMiF: fusion by a segmenter's features, and that segmenter.

*Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and Segmentation*; Liu, Liu,
Wu, Ma, Liu, Zhong, Luo, Fan; ICCV 2023.

Either source goes through two dilated dense blocks. After each, a hierarchical interactive attention joins it with features
of a SegFormer's first two stages, which see a third image: the guide. The same SegFormer (MiT-B3) segments the fused image
in the colours of the visible one. Fusion and segmentation are trained in turns.

Of the public code (JinyuanLiu-CV/SegMiF): one attention serves both levels; a second one is in its files, and never called.
All PReLUs share one slope. The guide is a file: a mix of the sources by visual saliency for MFNet, and the visible image for
TNO and RoadScene (its issues 9 and 12). The fused image is held to the guide, not to the sources.
"""

import re
from itertools import pairwise

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor, nn

from mmfusion.models.fusers.color import LuminanceColor
from mmfusion.models.layers import sobel_magnitude, visual_saliency
from mmfusion.models.priors.weights import read_weights
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all

MIT_B3 = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth'


class DilatedDense(nn.Module):
    """DRDB: five 3×3 convolutions of dilation 2, each of all before, merged and added.

    Args:
        channels: In and out.
        growth: Of each convolution.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + k * growth, growth, 3, padding=2, dilation=2) for k in range(5)
        )
        self.merge = nn.Conv2d(channels + 5 * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W → the same shape."""
        features = x
        for layer in self.layers:
            features = torch.cat([features, layer(features).relu()], 1)
        return x + self.merge(features).relu()


class InteractiveAttention(nn.Module):
    """Let sources' and segmenter's features ask each other, linearly.

    Of each of the three, one half of a projection goes each way. Sources ask the segmenter's context, and the segmenter asks
    theirs; a context is softmax(Kᵀ V / √d) over keys, d×d for each head.

    Args:
        channels: Of all three features; a multiple of ``heads``.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.ModuleDict({name: nn.Linear(channels, 2 * channels) for name in ('vi', 'ir', 'seg')})
        self.key_value = nn.ModuleDict(
            {name: nn.Linear(channels, 2 * channels, bias=False) for name in ('vi', 'ir', 'seg')}
        )
        self.end = nn.ModuleDict({name: nn.Linear(2 * channels, channels) for name in ('vi', 'ir')})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(channels) for name in ('vi', 'ir')})

    def forward(self, vi: Tensor, ir: Tensor, seg: Tensor) -> tuple[Tensor, Tensor]:
        """Give new features of both sources; all N×C×H×W."""
        tokens = {name: x.flatten(2).mT for name, x in (('vi', vi), ('ir', ir), ('seg', seg))}
        halves = {name: self.project[name](x).relu().chunk(2, dim=-1) for name, x in tokens.items()}
        asked, context = self._split(halves['seg'][0]), self._context('seg', halves['seg'][1])
        out = []
        for name in ('vi', 'ir'):
            given, asking = halves[name]
            answers = (asked @ self._context(name, given), self._split(asking) @ context)
            answers = torch.cat([x.transpose(1, 2).flatten(2) for x in answers], -1)
            out.append(self.norm[name](tokens[name] + self.end[name](answers)).mT.reshape(vi.shape))
        return out[0], out[1]

    def _split(self, x: Tensor) -> Tensor:
        """N×HW×C → N×heads×HW×d."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _context(self, name: str, x: Tensor) -> Tensor:
        key, value = (self._split(half) for half in self.key_value[name](x).chunk(2, dim=-1))
        return (key.mT @ value * key.shape[-1] ** -0.5).softmax(-2)


class Fusion(nn.Module):
    """Fuse luminance and infrared by the segmenter's features of two levels.

    Args:
        channels: C of the features of a source.
        of_segmenter: Channels of the segmenter's first two stages.
        growth, heads: Of the dense blocks and of the attention.
    """

    def __init__(self, channels: int, of_segmenter: tuple[int, int], growth: int, heads: int) -> None:
        super().__init__()
        c, sources = channels, ('vi', 'ir')
        self.stem = nn.ModuleDict({name: nn.Conv2d(1, c, 3, padding=1) for name in sources})
        self.dense = nn.ModuleList(nn.ModuleDict({name: DilatedDense(c, growth) for name in sources}) for _ in range(2))
        self.lift = nn.ModuleList(nn.Conv2d(width, c, 1) for width in of_segmenter)
        self.attention = InteractiveAttention(c, heads)
        widths = (2 * c, c, c // 2, 1)
        self.decoder = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths))
        self.activation = nn.PReLU()

    def forward(self, vi: Tensor, ir: Tensor, levels: list[Tensor]) -> Tensor:
        """Fuse N×1×H×W images and two of N×C_k×H×W to N×1×H×W, about [0, 1]."""
        vi, ir = self.activation(self.stem['vi'](vi)), self.activation(self.stem['ir'](ir))
        for dense, lift, level in zip(self.dense, self.lift, levels, strict=True):
            vi, ir = self.attention(dense['vi'](vi), dense['ir'](ir), lift(level))
        x = torch.cat([ir, vi], 1)
        for layer in self.decoder:
            x = self.activation(layer(x))
        return x


class Segmenter(nn.Module):
    """SegFormer: mmsegmentation's MiT, and a plainer head.

    Args:
        num_classes: Of the logits.
        width: C of the first stage; 2C, 5C, 8C follow.
        layers: Of the four stages.
        hidden: Channels of the head.
    """

    def __init__(self, num_classes: int, width: int, layers: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        heads = (1, 2, 5, 8)
        encoder = dict(embed_dims=width, num_layers=layers, num_heads=heads, drop_path_rate=0.1)
        self.encoder = MODELS.build(dict(type='mmseg.MixVisionTransformer', **encoder))
        for name, module in self.encoder.named_modules():
            if isinstance(module, nn.LayerNorm) and name.endswith(('0.norm', 'attn.norm')):
                module.eps = 1e-5  # of patches and of reduced keys; 1e-6 in the library
        self.lift = nn.ModuleList(nn.Conv2d(width * k, hidden, 1) for k in heads)
        self.merge = nn.Sequential(nn.Conv2d(4 * hidden, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())
        self.dropout = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(hidden, num_classes, 1)
        for name, values in dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)).items():
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        """N×3×H×W in [0, 1] → N×classes×H/4×W/4."""
        levels = self.encoder((255 * rgb - self.mean) / self.std)
        levels = [lift(level) for lift, level in zip(self.lift, levels, strict=True)]
        size = levels[0].shape[2:]
        levels = [F.interpolate(level, size, mode='bilinear') for level in levels[::-1]]
        return self.head(self.dropout(self.merge(torch.cat(levels, 1))))

    @torch.no_grad()
    def features(self, guide: Tensor) -> list[Tensor]:
        """Give the first two stages' features of N×1×H×W in [0, 1]."""
        x, levels = guide.expand(-1, 3, -1, -1), []
        for embed, blocks, norm in self.encoder.layers[:2]:
            x, size = embed(x)
            for block in blocks:
                x = block(x, size)
            x = norm(x).mT.unflatten(2, size)
            levels.append(F.interpolate(x, guide.shape[2:], mode='bilinear'))
        return levels


@MODELS.register_module()
class SegMiF(nn.Module):
    """Fuse by a SegFormer's features, and segment the result by it.

    Args:
        num_classes: Of the segmentation.
        guide: What the segmenter's first features are taken of: ``'visible'``, Y of the visible image; or ``'saliency'``, a
            mix of the sources by visual saliency. A companion ``mask`` takes its place.
        channels, growth, heads: Of the fusion: C, growth of the dense blocks, heads of the attention.
        width, layers, hidden: Of the segmenter; MiT-B3's by default. ``hidden``: of its head.
        pretrained: ImageNet weights of the segmenter's encoder in training: ``'imagenet'`` (mmsegmentation's MiT-B3,
            downloaded), a file (its names, or those of NVIDIA's ``mit_b3.pth``) or URL, or None.

    Raises:
        ValueError: If ``guide`` is unknown.
        FileNotFoundError: If ``pretrained`` is no file.
        RuntimeError: If the download failed.
    """

    min_size = 32
    training_only = ('pretrained',)  # a checkpoint has the encoder

    def __init__(
        self,
        num_classes: int = 9,
        guide: str = 'visible',
        channels: int = 64,
        growth: int = 32,
        heads: int = 8,
        width: int = 64,
        layers: tuple[int, ...] = (3, 4, 18, 3),
        hidden: int = 256,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        if guide not in ('visible', 'saliency'):
            raise ValueError(f"guide must be 'visible' or 'saliency', got {guide!r}")
        self.guide = guide
        self.fusion = Fusion(channels, (width, 2 * width), growth, heads)
        self.segmenter = Segmenter(num_classes, width, layers, hidden)
        self.color = LuminanceColor(inverse='rounded', stretch=True)
        if pretrained:
            option = 'pretrained (in the configs: MMFUSION_MIT_B3), or None without'
            state = read_weights(pretrained, 'mit_b3', option, dict(imagenet=MIT_B3), random=False)
            state = {name: value for name, value in state.items() if not name.startswith('head.')}
            self.segmenter.encoder.load_state_dict(_mit(state) if 'patch_embed1.proj.weight' in state else state)

    def forward(self, vi: Tensor, vi_rgb: Tensor, ir: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Fuse and segment.

        Args:
            vi, vi_rgb, ir: N×1×H×W, N×3×H×W, N×1×H×W in [0, 1].
            mask: The guide, N×1×H×W in [0, 1], a companion; optional.

        Returns:
            ``fused``, N×1×H×W, about [0, 1]; ``seg_logits``, N×classes×H/4×W/4; ``guide``, N×1×H×W.
        """
        guide = mask
        if guide is None:
            guide = vi if self.guide == 'visible' else saliency_mix(vi, ir)
        fused = self.fusion(vi, ir, self.segmenter.features(guide))
        return dict(fused=fused, seg_logits=self.segmenter(self.color(fused, vi_rgb)), guide=guide)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's two files, of fusion and segmentation.

        Layers that are never called are dropped: a second attention, and a classifier on the encoder.

        Raises:
            KeyError: If neither file is one of this method, or one of the two is missing.
        """
        parts = dict(fusion={}, encoder={}, head={})
        for name, value in state.items():
            if 'denoise_net.encoder.' in name:
                parts['encoder'][name.split('denoise_net.encoder.')[1]] = value
            elif 'denoise_net.decoder.' in name:
                parts['head'][name.split('denoise_net.decoder.')[1]] = value
            elif 'denoise_net.classifier.' not in name and 'ffm2.' not in name:
                parts['fusion'][name] = value
        if not any('DRDB1.' in name for name in parts['fusion']) or not parts['encoder'] or not parts['head']:
            raise KeyError(
                'DRDB1, denoise_net.encoder, denoise_net.decoder: the two files of SegMiF (modelfusion-final2.pth and '
                'model-fusion_add_final2.pth, given together) have layers of these names, and some are missing'
            )
        names = {f'DRDB{2 * k + s + 1}.': f'dense.{k}.{("ir", "vi")[s]}.' for k in range(2) for s in range(2)}
        names |= {f'Dcov{k + 1}.': f'layers.{k}.' for k in range(5)} | {'.conv.': '.merge.'}
        names |= {'conv1_ir.': 'stem.ir.', 'conv1_vis.': 'stem.vi.', 'conv3.': 'lift.0.', 'conv4.': 'lift.1.'}
        names |= {'conv21.': 'decoder.1.', 'conv22.': 'decoder.2.', 'conv2.': 'decoder.0.', 'relu.': 'activation.'}
        names |= {'ffm.cross.': 'attention.', 'cross_attn2.': '', 'cross_attn.': '', 'kv': 'key_value.'}
        names |= {'channel_proj': 'project.', 'end_proj': 'end.', 'norm': 'norm.'}
        sources = {f'{part}.{k}.': f'{part}.{s}.' for part in ('key_value', 'project', 'end', 'norm')
                   for k, s in ((1, 'ir'), (2, 'vi'), (3, 'seg'))}  # fmt: skip
        renamed = {}
        for name, value in parts['fusion'].items():
            name = re.search(r'(?:^|\.)((?:conv|DRDB|relu|ffm)\w*\..*)', name)[1]  # without the file's stem
            renamed[f'fusion.{replace_all(replace_all(name, names), sources)}'] = value
        renamed |= {f'segmenter.encoder.{name}': value for name, value in _mit(parts['encoder']).items()}
        names = {f'linear_c{k + 1}.proj.': f'lift.{k}.' for k in range(4)}
        names |= {'linear_fuse.conv.': 'merge.0.', 'linear_fuse.bn.': 'merge.1.', 'linear_pred.': 'head.'}
        for name, value in parts['head'].items():
            value = value[..., None, None] if name.endswith('proj.weight') else value
            renamed[f'segmenter.{replace_all(name, names)}'] = value
        return renamed


def _mit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename SegFormer's public encoder as mmsegmentation does, with joined matrices."""
    names = {'.attn.proj.': '.attn.attn.out_proj.', '.mlp.fc1.': '.ffn.layers.0.', '.mlp.fc2.': '.ffn.layers.4.'}
    names |= {'.mlp.dwconv.dwconv.': '.ffn.layers.1.'}
    for k in range(4):
        names |= {f'patch_embed{k + 1}.proj.': f'layers.{k}.0.projection.', f'patch_embed{k + 1}.': f'layers.{k}.0.'}
        names |= {f'block{k + 1}.': f'layers.{k}.1.'}
    renamed = {}
    for name, value in state.items():
        if '.attn.kv.' in name:
            continue
        if '.attn.q.' in name:
            value = torch.cat([value, state[name.replace('.q.', '.kv.')]])
            name = name.replace('.attn.q.', '.attn.attn.in_proj_')
        if '.mlp.fc' in name and name.endswith('weight'):
            value = value[..., None, None]
        if name.startswith('norm'):  # of a stage
            name = f'layers.{int(name[4]) - 1}.2.{name[6:]}'
        renamed[replace_all(name, names)] = value
    return renamed


def saliency_mix(vi: Tensor, ir: Tensor) -> Tensor:
    """Mix sources by saliency: w ir + (1 − w) vi, w = (1 + S(ir) − S(vi)) / 2."""
    saliency_vi, saliency_ir = (visual_saliency(x, stretch=False) for x in (vi, ir))
    return torch.lerp(vi, ir, (1 + saliency_ir - saliency_vi) / 2)


@MODELS.register_module()
class SegMiFLoss(nn.Module):
    """Hold the fused image to the guide.

    ``'edges'`` (the first round): ‖f − g‖₁ + ‖ |∇f| − |∇g| ‖₁, |∇| = |∂x| + |∂y| by Sobel. ``'structure'`` (the later ones):
    MSE(f, g) + 1.1 (1 − SSIM(f, g)), SSIM padded by zeros.

    Args:
        kind: ``'edges'`` or ``'structure'``.
        loss_weight: Factor on the loss.

    Raises:
        ValueError: If ``kind`` is unknown.
    """

    def __init__(self, kind: str = 'structure', loss_weight: float = 1.0) -> None:
        super().__init__()
        if kind not in ('edges', 'structure'):
            raise ValueError(f"kind must be 'edges' or 'structure', got {kind!r}")
        self.kind, self.loss_weight = kind, loss_weight

    def forward(self, fused: Tensor, guide: Tensor) -> Tensor:
        """Compare N×1×H×W images in [0, 1]."""
        if self.kind == 'edges':
            of_fused, of_guide = sobel_magnitude(fused), sobel_magnitude(guide)
            return self.loss_weight * (F.l1_loss(fused, guide) + F.l1_loss(of_fused, of_guide))
        padded = (F.pad(x, (5,) * 4) for x in (fused, guide))
        return self.loss_weight * (F.mse_loss(fused, guide) + 1.1 * (1 - ssim(*padded, data_range=1.0)))


@MODELS.register_module()
class SegMiFSegmentationLoss(nn.Module):
    """Compute the cross-entropy of logits that are enlarged to the labels.

    Args:
        ignore_index: Label without loss.
        loss_weight: Factor on the loss.
    """

    def __init__(self, ignore_index: int = 255, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.ignore_index, self.loss_weight = ignore_index, loss_weight

    def forward(self, seg_logits: Tensor, labels: Tensor) -> Tensor:
        """Compare N×classes×h×w with N×H×W."""
        logits = F.interpolate(seg_logits, labels.shape[1:], mode='bilinear')
        return self.loss_weight * F.cross_entropy(logits, labels, ignore_index=self.ignore_index)
