"""DINOv2 by mmpretrain's VisionTransformer, as a prior and a backbone."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion.registry import MODELS
from mmfusion.utils import shorten

from .features import FeaturePrior, PriorFeatures, resize
from .frozen import FrozenPrior, PriorHolder, load_exactly, seeded
from .weights import RANDOM, read_weights

DOWNLOAD = 'dinov2'
# mmpretrain's names of DINOv2's architectures (its own 'small' is another) → letters in the addresses of the weights.
_LETTERS = {
    **dict.fromkeys(['dinov2-s', 'dinov2-small'], 's'),
    **dict.fromkeys(['b', 'base'], 'b'),
    **dict.fromkeys(['l', 'large'], 'l'),
    **dict.fromkeys(['dinov2-g', 'dinov2-giant'], 'g'),
}
_URL = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{0}14/dinov2_vit{0}14_pretrain.pth'
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, R, G, B

# Beginnings of names: the original's, mmpretrain's.
_TOP = {
    'cls_token': 'cls_token',
    'pos_embed': 'pos_embed',
    'patch_embed.proj.': 'patch_embed.projection.',
    'norm.': 'ln1.',
}
_BLOCK = {
    'norm1.': 'ln1.',
    'attn.qkv.': 'attn.qkv.',
    'attn.proj.': 'attn.proj.',
    'ls1.gamma': 'attn.gamma1.weight',
    'norm2.': 'ln2.',
    'mlp.fc1.': 'ffn.layers.0.0.',
    'mlp.fc2.': 'ffn.layers.1.',
    'mlp.w12.': 'ffn.w12.',
    'mlp.w3.': 'ffn.w3.',
    'ls2.gamma': 'ffn.gamma2.weight',
}


def is_original(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state dict has DINOv2's own names (``blocks.0.norm1.weight``…)."""
    return 'patch_embed.proj.weight' in state


def from_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of the original DINOv2 to mmpretrain's VisionTransformer.

    Names may have the ``backbone.`` of a training checkpoint, and its chunks of blocks (``blocks.0.11.norm1.weight``). The
    mask token, which only pre-training uses, is left out.

    Raises:
        ValueError: If it is not DINOv2, has register tokens, which mmpretrain's class has not, or is incomplete.
    """
    state = {name.removeprefix('backbone.'): value for name, value in state.items()}
    if not is_original(state):
        raise ValueError(f'not DINOv2 in its original names: no patch_embed.proj.weight among {shorten(state, 3)}')
    if any(name.startswith(('register_tokens', 'reg_token')) for name in state):
        raise ValueError(
            "DINOv2 with register tokens, for which mmpretrain's VisionTransformer has no place. Use the weights without "
            'registers (dinov2_vitb14_pretrain.pth, not …_reg4_…).'
        )
    state = {re.sub(r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.', name): value for name, value in state.items()}
    out = {_rename(n, 'blocks', 'layers', _TOP, _BLOCK): v for n, v in state.items() if n != 'mask_token'}
    _check_complete(out)
    return out


def to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of mmpretrain's VisionTransformer to the original DINOv2.

    Raises:
        ValueError: If it is no DINOv2 of mmpretrain's.
    """
    state = {name.removeprefix('backbone.'): value for name, value in state.items()}
    _check_complete(state)
    top, block = ({new: old for old, new in table.items()} for table in (_TOP, _BLOCK))
    return {_rename(n, 'layers', 'blocks', top, block): v for n, v in state.items()}


def _rename(name: str, old: str, new: str, top: Mapping[str, str], block: Mapping[str, str]) -> str:
    match = re.match(rf'{old}\.(\d+)\.(.+)', name)
    rest, table = (match[2], block) if match else (name, top)
    for begin, to in table.items():
        if rest == begin or (begin.endswith('.') and rest in (begin + 'weight', begin + 'bias')):
            renamed = to + rest[len(begin) :]
            return f'{new}.{match[1]}.{renamed}' if match else renamed
    raise ValueError(f'not DINOv2: {name!r} is no parameter of it')


def _check_complete(state: Mapping[str, Tensor]) -> None:
    """Make sure that a state dict is a whole DINOv2."""
    depth = 1 + max((int(n.split('.')[1]) for n in state if n.startswith('layers.')), default=-1)
    blocks = [f'layers.{i}.' for i in range(depth)]
    feed = ('ffn.w12', 'ffn.w3') if 'layers.0.ffn.w12.weight' in state else ('ffn.layers.0.0', 'ffn.layers.1')
    parts = ('ln1', 'attn.qkv', 'attn.proj', 'ln2', *feed)
    wanted = {f'{b}{p}.{kind}' for b in blocks for p in parts for kind in ('weight', 'bias')}
    wanted |= {f'{b}{gamma}.weight' for b in blocks for gamma in ('attn.gamma1', 'ffn.gamma2')}
    wanted |= {'cls_token', 'pos_embed', 'patch_embed.projection.weight', 'patch_embed.projection.bias'}
    wanted |= {'ln1.weight', 'ln1.bias'}
    missing, unknown = sorted(wanted - state.keys()), sorted(state.keys() - wanted)
    if missing or unknown or not depth:
        found = [f'{len(missing)} parameters are missing: {shorten(missing, 3)}'] if missing else []
        found += [f'unknown: {shorten(unknown, 3)}'] if unknown else []
        raise ValueError(f'not a complete DINOv2; {"; ".join(found) or "it has no blocks"}')


class FrozenViT(FrozenPrior):
    """A frozen VisionTransformer with DINOv2's weights.

    Args:
        backbone: Config of mmpretrain's ``VisionTransformer``.
        weights: ``'dinov2'`` (the original ones, downloaded), a file or URL with the names of the original or of
            mmpretrain, or ``'random'`` (the same random numbers in every run and on every rank; the log warns of them).

    Raises:
        ValueError: If there are no original weights for this architecture.
        FileNotFoundError: If ``weights`` is no file.
        RuntimeError: If the file does not fit, or the download failed.
    """

    def __init__(self, backbone: dict, weights: str | Path) -> None:
        super().__init__()
        arch = backbone.get('arch', 'base')
        self.arch, self.weights = arch if isinstance(arch, str) else 'custom', weights
        if isinstance(backbone.get('out_indices'), tuple | list):  # the class writes into it
            backbone = dict(backbone, out_indices=list(backbone['out_indices']))
        state = self._read(weights)
        self.backbone = seeded(lambda: self._build(backbone, state is None))
        if state is not None:
            load_exactly(self.backbone, state, weights, f'DINOv2 {self.arch}')
        self.freeze()

    @staticmethod
    def _build(config: dict, random: bool) -> nn.Module:
        backbone = MODELS.build(config)
        if random:  # the class leaves it at 0 until init_weights, which writes a line to the log for each parameter
            torch.nn.init.trunc_normal_(backbone.pos_embed, std=0.02)
        return backbone

    def _read(self, weights: str | Path) -> dict[str, Tensor] | None:
        if weights == DOWNLOAD and self.arch not in _LETTERS:
            raise ValueError(f'DINOv2 has no weights for the architecture {self.arch!r}: give a file, or {RANDOM!r}')
        urls = {DOWNLOAD: _URL.format(_LETTERS[self.arch])} if self.arch in _LETTERS else {}
        state = read_weights(weights, f'DINOv2 {self.arch}', 'weights (in the configs: MMFUSION_DINOV2)', urls)
        if state is None:
            return None
        teacher = {k.removeprefix('teacher.'): v for k, v in state.items() if k.startswith('teacher.')}
        state = {
            k.removeprefix('backbone.'): v
            for k, v in (teacher or state).items()
            if not k.startswith(('dino_head', 'ibot_head'))
        }
        if is_original(state):
            try:
                state = from_original(state)
            except ValueError as e:
                raise RuntimeError(f'{weights}: not the weights of DINOv2 {self.arch}. {e}') from e
        return {k: v.float() for k, v in state.items()}

    @property
    def patch(self) -> tuple[int, int]:
        """Give height and width of a patch in pixels."""
        return tuple(self.backbone.patch_embed.projection.kernel_size)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute features of normalised N×3×H×W images, as ``out_type`` and ``out_indices`` say.

        Where height or width is no multiple of the patch, the images are resized to the nearest: the map of tokens then
        lies on the whole image. (mmpretrain's class would pad below and to the right, and its map reach beyond the image.)
        """
        return self.backbone(resize(x, nearest_multiple(x.shape[2:], self.patch)))


def nearest_multiple(size: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Round height and width to whole patches, at least one."""
    return tuple(max(1, round(s / p)) * p for s, p in zip(size, patch, strict=True))


@MODELS.register_module()
class FrozenBackbone(PriorHolder):
    """A frozen DINOv2 in the place of a stock segmenter's backbone.

    It is held outside of the module tree: ``init_weights`` does not touch it, no optimizer sees it, checkpoints record its
    hash instead of its weights, and gradient flows through it to the image.
    :func:`mmfusion.utils.checkpoint.full_state_dict` gives the segmenter's state dict with it, as the stock library loads
    it with ``backbone`` itself as its backbone.

    Images come normalised from the segmenter's own preprocessor. Give that ``size_divisor=14`` and
    ``test_cfg=dict(size_divisor=14)`` for images whose sides are no multiple of the patch (MFNet's 640×480): they are padded
    and the padding taken off the result. Without, they are resized to the nearest multiple, see :class:`FrozenViT`.

    Args:
        backbone: Config of mmpretrain's ``VisionTransformer``, with ``out_type='featmap'`` for a segmenter.
        weights: See :class:`FrozenViT`.
    """

    def __init__(self, backbone: dict, weights: str | Path = DOWNLOAD) -> None:
        super().__init__()
        self.hold('frozen', FrozenViT(backbone, weights))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps of normalised N×3×H×W images, N×C×h×w each."""
        return self.prior('frozen')(x)

    def stock_state_dict(self) -> dict[str, Tensor]:
        """Give the backbone's state dict in its own class's names."""
        return self.prior('frozen').backbone.state_dict()


@MODELS.register_module()
class DINOv2Prior(FeaturePrior):
    """Patch tokens and class token of a frozen DINOv2.

    Args:
        backbone: Settings of mmpretrain's ``VisionTransformer`` that differ from DINOv2 ViT-B/14.
        weights: See :class:`FrozenViT`.
        layers: Blocks whose patch tokens to give, counted from 1. Default: the last. The last block's tokens have
            passed the final norm (the original's ``x_norm_patchtokens``), earlier ones have not.
        embedding: Whether to give the class token behind the final norm (``x_norm_clstoken``).
        size: Size (height, width) that images are brought to whatever their proportions; rounded to whole patches.
            Default: their own.
        grad: Whether features can be differentiated with respect to the images.

    Raises:
        ValueError: If there is no such layer.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        weights: str | Path = DOWNLOAD,
        layers: Sequence[int] | None = None,
        embedding: bool = False,
        size: int | tuple[int, int] | None = None,
        grad: bool = False,
    ) -> None:
        super().__init__(grad)
        config = dict(
            type='mmpretrain.VisionTransformer', arch='base', img_size=518, patch_size=14, layer_scale_init_value=1e-5
        )
        config.update(backbone or {})
        if config['arch'] in ('dinov2-g', 'dinov2-giant'):
            config.setdefault('layer_cfgs', dict(ffn_type='swiglu_fused'))
        # With out_type 'raw' the class token comes along.
        vit = FrozenViT(dict(config, out_type='raw', out_indices=[-1]), weights)
        self.arch, self.weights, self.backbone, self.patch = vit.arch, weights, vit.backbone, vit.patch
        depth = self.backbone.num_layers
        self.layers, self.embedding = tuple(sorted(set(layers or (depth,)))), embedding
        wrong = [layer for layer in self.layers if not 1 <= layer <= depth]
        if wrong:
            raise ValueError(f'{self.label}: layers {wrong} are none of its blocks 1 … {depth}')
        self.backbone.out_indices = sorted({layer - 1 for layer in self.layers} | ({depth - 1} if embedding else set()))
        self.size = (size, size) if isinstance(size, int) else size and tuple(size)
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def extract(self, images: Tensor) -> PriorFeatures:
        """Compute features of N×3×H×W images in [0, 1] by one run."""
        height, width = nearest_multiple(self.size or images.shape[2:], self.patch)
        x = (resize(images, (height, width)) - self.mean) / self.std
        out = dict(zip(self.backbone.out_indices, self.backbone(x), strict=True))
        grid = (height // self.patch[0], width // self.patch[1])
        skip = self.backbone.num_extra_tokens
        tokens = tuple(out[layer - 1][:, skip:].mT.unflatten(2, grid) for layer in self.layers)
        return PriorFeatures(tokens, out[self.backbone.num_layers - 1][:, 0] if self.embedding else None)

    def settings(self) -> dict[str, Any]:
        """Give all but the weights that the features depend on."""
        return dict(arch=self.arch, layers=self.layers, embedding=self.embedding, size=self.size, patch=self.patch)
