"""GIFNet: all kinds of image fusion, by two low-level tasks.

*One Model for ALL: Low-Level Task Interaction Is a Key to Task-Agnostic Image Fusion*; Cheng, Xu, Feng, Wu, Tang, Li, Zhang,
Atito, Awais, Kittler; CVPR 2025.

Shared features of a pair go through two branches of window attention, one for infrared and visible pairs (``modal``) and
one for near and far focus (``focus``), which look at each other; a second decoder reconstructs a clean image. In a test both
branches see the same pair, and the focus branch gives the result.

Of the public code (AWCXV/GIFNet): the other branch's attention gets no gradient from a task, and neither do the other
task's shared features. In the modal task, its depth-wise convolution of the focus branch is given the values of the modal
branch, against all that is symmetric there; here those of its own. It takes a step for each task; here the losses are added.
"""

import re
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet, DenseNet121_Weights

from mmfusion.models.layers import attention
from mmfusion.models.priors import FrozenPrior, PriorHolder
from mmfusion.models.priors.frozen import load_exactly, seeded
from mmfusion.models.priors.weights import read_weights
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all

from .mufusion import ms_ssim

_OTHER = dict(modal='focus', focus='modal')


def _conv(cin: int, cout: int, size: int = 3, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, size, padding=size // 2, padding_mode='reflect', **kwargs)


def _decoder(*channels: int) -> nn.Sequential:
    """3×3 convolutions with ReLU between, Tanh at the end."""
    layers = []
    for cin, cout in pairwise(channels):
        layers += [_conv(cin, cout), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1], nn.Tanh())


class Branch(nn.Module):
    """What one task's branch has of its own in a block.

    The norm is over channels and pixels of an image; its deviation and mean, each by a 1×1 convolution, scale and shift the
    result of the attention (DehazeFormer, Song et al., TIP 2023, section III-B).

    Args:
        channels: C.
        expansion: Width of the MLP as a multiple of C.
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        c = channels
        self.weight, self.bias = nn.Parameter(torch.ones(1, c, 1, 1)), nn.Parameter(torch.zeros(1, c, 1, 1))
        self.rescale, self.rebias = nn.Conv2d(1, c, 1), nn.Conv2d(1, c, 1)
        self.query_key, self.value, self.project = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)
        self.local = _conv(c, c, 5, groups=c)
        self.mlp = nn.Sequential(nn.Conv2d(c, c * expansion, 1), nn.ReLU(inplace=True), nn.Conv2d(c * expansion, c, 1))
        self.init_weights()

    def init_weights(self) -> None:
        """Start small, so that a block begins close to the identity."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight, gain=1 if name == 'query_key' else 0.5)
                nn.init.zeros_(module.bias)
        for module, bias in ((self.rescale, 1), (self.rebias, 0)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.constant_(module.bias, bias)

    def norm(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise N×C×H×W; also give scale and shift, N×C×1×1."""
        mean = x.mean((1, 2, 3), keepdim=True)
        deviation = (x.var((1, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        return (x - mean) / deviation * self.weight + self.bias, self.rescale(deviation), self.rebias(mean)


class TaskBlock(nn.Module):
    """Let both branches attend within windows, perhaps by crossed queries.

    Args:
        channels: C, a multiple of ``num_heads``.
        crossed: Whether the other branch answers the task's queries, or its own.
        shift: Of the windows, in pixels.
        num_heads, window: Of the attention.
    """

    def __init__(self, channels: int, crossed: bool, shift: int, num_heads: int = 2, window: int = 8) -> None:
        super().__init__()
        self.crossed, self.shift, self.num_heads, self.window = crossed, shift, num_heads, window
        self.branches = nn.ModuleDict({task: Branch(channels) for task in _OTHER})
        self.position_bias = nn.Sequential(nn.Linear(2, 256), nn.ReLU(inplace=True), nn.Linear(256, num_heads))
        grid = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')).flatten(1).float()
        offset = (grid[:, :, None] - grid[:, None]).permute(1, 2, 0)
        self.register_buffer('offset', offset.sign() * offset.abs().log1p(), persistent=False)

    def forward(self, x: dict[str, Tensor], task: str, other: bool = True) -> dict[str, Tensor]:
        """Update the features of both branches, N×C×H×W each.

        Args:
            x: Features by branch.
            task: The branch that learns.
            other: Whether the other branch is wanted, too.
        """
        bias = self.position_bias(self.offset).permute(2, 0, 1)
        out, query = {}, None
        for name in (task, _OTHER[task]) if other else (task,):
            branch = self.branches[name]
            y, scale, shift = branch.norm(x[name])
            with torch.set_grad_enabled(torch.is_grad_enabled() and name == task):
                value = branch.value(y)
                own, key = branch.query_key(y).chunk(2, dim=1)
                query = own if query is None or not self.crossed else query
                y = branch.project(branch.local(value) + self.attend(query, key, value, bias))
            y = x[name] + y * scale + shift
            out[name] = y + branch.mlp(y)
        return out

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Attend within windows of N×C×H×W features, extended by reflection to whole windows."""
        (n, c, h, w), size = query.shape, self.window
        down, right = ((-length - self.shift) % size if self.shift else -length % size for length in (h, w))
        pad = (self.shift, right, self.shift, down)
        heads = []
        for features in (query, key, value):
            x = F.pad(features, pad, mode='reflect')
            x = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # N×C×rows×8×columns×8
            rows, columns = x.shape[2], x.shape[4]
            x = x.permute(0, 2, 4, 3, 5, 1).reshape(n * rows * columns, size * size, self.num_heads, -1)
            heads.append(x.transpose(1, 2))
        out = attention(*heads, bias)
        out = out.transpose(1, 2).reshape(n, rows, columns, size, size, c).permute(0, 5, 1, 3, 2, 4)
        out = out.reshape(n, c, rows * size, columns * size)
        return out[:, :, self.shift : self.shift + h, self.shift : self.shift + w]


@MODELS.register_module()
class GIFNet(nn.Module):
    """Fuse by shared features, two branches of window attention, and a decoder.

    Args:
        growth: Channels of a shared convolution; the shared features are the pair and three of these.
        channels: Of the decoders' first convolution.
    """

    min_size = 5  # whole windows are made by reflection

    def __init__(self, growth: int = 32, channels: int = 64) -> None:
        super().__init__()
        shared, widths = 2 + 3 * growth, (channels, channels // 2, channels // 4, 1)
        self.shared = nn.ModuleList(_conv(2 + k * growth, growth) for k in range(3))
        self.embed = nn.ModuleDict({task: _conv(shared, shared) for task in _OTHER})
        self.cross = TaskBlock(shared, crossed=True, shift=0)
        self.shifted = TaskBlock(shared, crossed=False, shift=4)
        self.share = nn.ParameterDict({task: nn.Parameter(torch.rand(1)) for task in _OTHER})
        self.unembed = _conv(shared, shared)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * shared, shared, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(shared, 2 * channels, 1, bias=False),
        )
        self.decoder = _decoder(2 * channels, *widths)
        self.reconstructor = _decoder(shared, *widths)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in (0, 1)."""
        features = self.encode(ir, vi)
        return self.fuse(features, features, 'focus')

    def both_tasks(self, vi: Tensor, ir: Tensor, near: Tensor, far: Tensor) -> dict[str, Tensor]:
        """Fuse a pair of each task for training: modalities, and focus.

        Args:
            vi, ir: N×1×H×W in [0, 1].
            near, far: The visible image, in focus close by and far off, N×1×H×W.

        Returns:
            ``fused`` and ``focus_fused``, (0, 1); ``reconstruction`` and ``focus_reconstruction``, (-1, 1).
        """
        modal, focus = self.encode(ir, vi), self.encode(near, far)
        return dict(
            fused=self.fuse(modal, focus.detach(), 'modal'),
            focus_fused=self.fuse(focus, modal.detach(), 'focus'),
            reconstruction=self.reconstructor(modal),
            focus_reconstruction=self.reconstructor(focus),
        )

    def encode(self, first: Tensor, second: Tensor) -> Tensor:
        """Give the shared features of two N×1×H×W images, densely joined."""
        features = torch.cat([first, second], 1)
        for conv in self.shared:
            features = torch.cat([features, F.relu(conv(features))], 1)
        return features

    def fuse(self, features: Tensor, others: Tensor, task: str) -> Tensor:
        """Fuse by one task's branch.

        Args:
            features: Shared features of the task's pair.
            others: Those of the other task's pair.
            task: ``'modal'`` or ``'focus'``.
        """
        h, w = features.shape[2:]
        x = {task: features, _OTHER[task]: others}
        x = {k: self.embed[k](F.pad(v, (0, -w % 4, 0, -h % 4), mode='reflect')) for k, v in x.items()}
        x = self.cross(x, task)
        x[task] = x[task] + self.share[task] * x[_OTHER[task]]
        x = self.shifted(x, task, other=False)
        specific = self.unembed(x[task])[..., :h, :w]
        return self.decoder(self.merge(torch.cat([features, specific], 1))) / 2 + 0.5

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; unused shares are dropped."""
        parts = dict(QK='query_key', V='value', proj='project', conv='local', mlp='mlp', norm1='')
        names = {
            'extractor_multask.SwinTransformerSpecific.': '',
            'layer1.blocks.0': 'cross',
            'layer1.blocks.1': 'shifted',
        }
        names |= {'patch_embed_ivif.proj': 'embed.modal', 'patch_embed_mfif.proj': 'embed.focus'}
        names |= {'layer1.weights.0': 'share.modal', 'layer1.weights_mfif.0': 'share.focus'}
        names |= {'patch_unembed.proj.0': 'unembed', 'attn.attn.meta': 'position_bias'}
        names |= {'cnnDecoder.fuseComplementFeatures.mlp': 'merge', 'cnnDecoder.decoder': 'decoder'}
        names |= {f'getSharedFeatures.conv_{k + 1}.conv2d': f'shared.{k}' for k in range(3)}
        renamed = {}
        for name, value in state.items():
            if name.endswith(('relative_positions', 'weights.1', 'weights_mfif.1')):
                continue
            name = replace_all(name, names)
            found = re.fullmatch(
                r'(cross|shifted)\.(?:attn\.)?(QK|V|proj|conv|mlp|norm1)(_mfif)?\.(?:mlp\.)?(.+)', name
            )
            if found:
                block, part, focus, rest = found.groups()
                rest = rest.replace('meta1', 'rescale').replace('meta2', 'rebias')
                name = '.'.join(filter(None, (block, 'branches', 'focus' if focus else 'modal', parts[part], rest)))
            decoder = re.fullmatch(r'(decoder_rec\.)?decoder\.(\d+)\.(.+)', name)
            if decoder:  # padding is a layer of its own there
                name = f'{"reconstructor" if decoder[1] else "decoder"}.{int(decoder[2]) // 3 * 2}.{decoder[3]}'
            renamed[name] = value
        return renamed


class DenseNetInformation(FrozenPrior):
    """Measure images' detail by gradients of DenseNet121's features.

    The mean of a pixel's eight neighbours less the pixel, summed over the channels of a layer, squared, averaged over
    pixels; the mean over five layers: stem, three dense blocks with their transitions, last dense block.

    Args:
        weights: ``'imagenet'`` (torchvision's, downloaded), the path of a torchvision state dict, or ``'random'``.
        width: Factor on all widths, with random weights only: tiny networks for tests.
        block_config: Layers of the dense blocks, likewise.

    Raises:
        FileNotFoundError: If ``weights`` is no file.
        ValueError: If other than random weights are to have another width.
    """

    arch = 'densenet121'

    def __init__(
        self, weights: str = 'imagenet', width: float = 1.0, block_config: tuple[int, ...] = (6, 12, 24, 16)
    ) -> None:
        super().__init__()
        if width != 1 and weights != 'random':
            raise ValueError(f"width={width} needs weights='random': pre-trained weights have one width only")
        self.weights = weights
        widths = dict(growth_rate=max(1, int(32 * width)), num_init_features=max(1, int(64 * width)))
        network = seeded(lambda: DenseNet(block_config=block_config, **widths))
        state = read_weights(weights, 'densenet121', 'weights', dict(imagenet=DenseNet121_Weights.IMAGENET1K_V1.url))
        if state is not None:
            load_exactly(network, self._renamed(state), weights, 'densenet121')
        layers = list(network.features.children())
        self.stages = nn.ModuleList(nn.Sequential(*layers[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 11)))
        self.freeze()

    @staticmethod
    def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of the file as torchvision has them today: ``norm.1.weight`` is ``norm1.weight``."""
        pattern = re.compile(r'(denselayer\d+\.(?:norm|relu|conv))\.([12])')
        return {pattern.sub(r'\1\2', name): value for name, value in state.items()}

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Measure N×1×H×W images in [0, 1]: one number a batch."""
        x, total = x.expand(-1, 3, -1, -1), 0.0
        for stage in self.stages:
            x = stage(x)
            layer = F.pad(x.sum(1, keepdim=True), (1, 1, 1, 1), mode='reflect' if min(x.shape[2:]) > 1 else 'replicate')
            center = layer[..., 1:-1, 1:-1]
            total = total + (1.125 * (F.avg_pool2d(layer, 3, 1) - center)).square().mean() / len(self.stages)
        return total


@MODELS.register_module()
class GIFNetLoss(PriorHolder):
    """Hold both tasks' images to what they are made of.

    ω_vi MSE(f, vi) + ω_ir MSE(f, ir) + MSE(f_focus, vi) + Σ (1 − MS-SSIM(r, vi) + MSE(r, vi)) over both reconstructions,
    ω the softmax of the sources' information (:class:`DenseNetInformation`).

    Args:
        prior: Options of :class:`DenseNetInformation`.
        loss_weight: Factor on the loss.
    """

    def __init__(self, prior: dict | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.hold('densenet', DenseNetInformation(**(prior or {})))
        self.loss_weight = loss_weight

    def forward(
        self,
        fused: Tensor,
        focus_fused: Tensor,
        reconstruction: Tensor,
        focus_reconstruction: Tensor,
        vi: Tensor,
        ir: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of N×1×H×W images, and its terms."""
        weight = torch.stack([self.prior('densenet')(x) for x in (vi, ir)]).softmax(0)
        modal = weight[0] * F.mse_loss(fused, vi) + weight[1] * F.mse_loss(fused, ir)
        focus = F.mse_loss(focus_fused, vi)
        rebuilt = sum(1 - ms_ssim(x, vi) + F.mse_loss(x, vi) for x in (reconstruction, focus_reconstruction))
        log = dict(modal=modal.detach(), focus=focus.detach(), reconstruction=rebuilt.detach(), weight_vi=weight[0])
        return self.loss_weight * (modal + focus + rebuilt), log
