"""DenseFuse: an auto-encoder with a dense block, fused by rule.

Li, Wu: "DenseFuse: A Fusion Approach to Infrared and Visible Images", IEEE TIP 28 (5), 2019.

An auto-encoder of one convolution, a dense block of three, and a decoder of four, trained on single grey images. A rule
joins the features of both images when it is tested; nothing of the fusion is learned.

There are two public codes. hli1221/densefuse-pytorch (4394b63) takes the mean of the features, images in 0…255, and cuts
the result to 8 bits. hli1221/imagefusion_densefuse (TensorFlow 1) takes their sum, and stretches the result to its full
range: the images that other papers compare with come from there.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mmfusion.registry import MODELS

RULES = {
    'mean': lambda a, b: (a + b) / 2,
    'addition': lambda a, b: a + b,
    'l1': lambda a, b: _by_l1(a, b),
}


def _by_l1(a: Tensor, b: Tensor) -> Tensor:
    """Weigh features by the l1 norm over channels, in 3×3 windows."""
    activity = [
        nn.functional.avg_pool2d(x.abs().sum(1, keepdim=True), 3, 1, 1, count_include_pad=False) for x in (a, b)
    ]
    share = activity[0] / (activity[0] + activity[1]).clamp_min(1e-12)
    return share * a + (1 - share) * b


def conv(cin: int, cout: int, last: bool = False) -> nn.Sequential:
    """Build a 3×3 convolution on reflected borders, perhaps with ReLU."""
    layers = [nn.Conv2d(cin, cout, 3, padding=1, padding_mode='reflect')]
    return nn.Sequential(*layers) if last else nn.Sequential(*layers, nn.ReLU(inplace=True))


@MODELS.register_module()
class DenseFuse(nn.Module):
    """Network of DenseFuse.

    Args:
        channels: Channels of each convolution of the encoder.
        rule: How features are joined: ``'mean'``, ``'addition'``, or ``'l1'``, the paper's second strategy.

    Raises:
        ValueError: If the rule is unknown.
    """

    min_size = 2

    def __init__(self, channels: int = 16, rule: str = 'mean') -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f'rule must be one of {", ".join(RULES)}, got {rule!r}')
        self.rule = rule
        self.first = conv(1, channels)
        self.dense = nn.ModuleList(conv(k * channels, channels) for k in (1, 2, 3))
        widths = (4 * channels, 4 * channels, 2 * channels, channels)
        self.decoder = nn.Sequential(*(conv(i, o) for i, o in pairwise(widths)), conv(channels, 1, last=True))

    def encode(self, image: Tensor) -> Tensor:
        """N×1×H×W → N×4C×H×W."""
        x = self.first(image)
        for layer in self.dense:
            x = torch.cat([x, layer(x)], dim=1)
        return x

    def reconstruct(self, vi: Tensor) -> dict[str, Tensor]:
        """Give an image back: the phase that is trained, on single images."""
        return dict(vi_hat=self.decoder(self.encode(vi)))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images."""
        return self.decoder(RULES[self.rule](self.encode(ir), self.encode(vi)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the names of either public code."""
        if 'encoder/conv1_1/kernel' in state:
            return _from_tensorflow(state)
        names = {'first.0': 'conv1'}
        names.update({f'dense.{k}.0': f'DB1.denseblock.{k}.dense_conv' for k in range(3)})
        names.update({f'decoder.{k}.0': f'conv{k + 2}' for k in range(4)})
        return {
            f'{ours}.{p}': state[f'{theirs}.conv2d.{p}'] for ours, theirs in names.items() for p in ('weight', 'bias')
        }


def _from_tensorflow(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn kernels HWIO into OIHW, the newest features last."""
    names = {'first.0': 'encoder/conv1_1'}
    names.update({f'dense.{k}.0': f'encoder/dense_block_conv{k + 1}' for k in range(3)})
    names.update({f'decoder.{k}.0': f'decoder/conv2_{k + 1}' for k in range(4)})
    out = {}
    for ours, theirs in names.items():
        kernel = state[f'{theirs}/kernel'].permute(3, 2, 0, 1)
        if ours.startswith('dense') or ours == 'decoder.0.0':
            width = state['encoder/conv1_1/bias'].numel()
            kernel = torch.cat(kernel.split(width, dim=1)[::-1], dim=1)
        out[f'{ours}.weight'], out[f'{ours}.bias'] = kernel.contiguous(), state[f'{theirs}/bias']
    return out
