"""VGG features (torchvision's VGG16 and VGG19)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from mmfusion.registry import MODELS

from .frozen import FrozenPrior, load_exactly, seeded
from .weights import read_weights

_ARCHS = {'vgg16': (cfgs['D'], VGG16_Weights.IMAGENET1K_V1), 'vgg19': (cfgs['E'], VGG19_Weights.IMAGENET1K_V1)}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, R, G, B


def layer_names(cfg: Sequence[int | str]) -> dict[int, str]:
    """Name every ReLU of a torchvision VGG ``relu{stage}_{k}``, by its index."""
    names, index, stage, k = {}, 0, 1, 1
    for width in cfg:
        if width == 'M':
            index, stage, k = index + 1, stage + 1, 1
        else:
            names[index + 1] = f'relu{stage}_{k}'
            index, k = index + 2, k + 1
    return names


def _build(cfg: Sequence[int | str], random: bool) -> nn.Sequential:
    """Build the features; random ones are scaled so that images come through."""
    features = make_layers(cfg)
    for m in features if random else ():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(m.bias)
    return features


@MODELS.register_module()
class VGGPrior(FrozenPrior):
    """Features of a frozen VGG.

    Args:
        arch: ``'vgg19'`` or ``'vgg16'``.
        weights: ``'imagenet'`` (torchvision's, downloaded), ``'caffe'`` (those of VGG's authors, for VGG16; they want
            0…255 less 123.68, 116.779 and 103.939 for R, G and B: see ``mean``), file or URL of a torchvision state
            dict (of the whole network or of its ``features``, any float type), or ``'random'`` (the same random numbers
            in every run; the log warns of them).
        layers: Features to give, such as ``'relu4_4'``.
        width: Factor on all widths, with ``weights='random'`` only: tiny networks for tests.
        mean, std: Of R, G, B, taken off and divided by. Default: those of ImageNet; 0 and 1/255 give VGG images of
            0…255, as some public code does.

    Raises:
        ValueError: If the architecture or a layer is unknown, or ``width`` is given with real weights.
        FileNotFoundError: If ``weights`` is no file.
        RuntimeError: If the file does not fit, or the download failed.
    """

    def __init__(
        self,
        arch: str = 'vgg19',
        weights: str | Path = 'imagenet',
        layers: Sequence[str] = ('relu4_4', 'relu5_4'),
        width: float = 1.0,
        mean: Sequence[float] = _MEAN,
        std: Sequence[float] = _STD,
    ) -> None:
        super().__init__()
        if arch not in _ARCHS:
            raise ValueError(f'arch must be one of {", ".join(_ARCHS)}, got {arch!r}')
        if width != 1 and weights != 'random':
            raise ValueError(f"width={width} needs weights='random': pre-trained weights have one width only")
        if weights == 'caffe' and arch != 'vgg16':
            raise ValueError(f"weights='caffe' are those of vgg16, got arch={arch!r}")
        cfg = [w if w == 'M' else max(1, int(w * width)) for w in _ARCHS[arch][0]]
        names = layer_names(cfg)
        unknown = [layer for layer in layers if layer not in names.values()]
        if unknown:
            raise ValueError(f'{arch} has no layer {", ".join(unknown)}; it has {", ".join(names.values())}')
        self.arch, self.weights, self.layers = arch, weights, tuple(layers)
        urls = dict(imagenet=_ARCHS[arch][1].url)
        if arch == 'vgg16':
            urls['caffe'] = VGG16_Weights.IMAGENET1K_FEATURES.url
        option = 'weights (in the configs: MMFUSION_VGG19)'
        state = read_weights(weights, f'{arch} features', option, urls)
        self.features = seeded(lambda: _build(cfg, random=state is None))
        if state is not None:
            state = {
                k.removeprefix('features.'): v.float() for k, v in state.items() if not k.startswith('classifier.')
            }
            load_exactly(self.features, state, weights, f'{arch} features in torchvision key names')
        self.names = names
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute features of grey or colour images.

        Args:
            x: N×1×H×W or N×3×H×W (R, G, B) in [0, 1]; one channel is repeated.
            layers: Other layers than those of the constructor.

        Returns:
            Layer name → N×C×h×w; deeper layers than asked for are not computed.
        """
        return self.features_of(self.normalize(x), layers)

    def normalize(self, x: Tensor) -> Tensor:
        """Normalise N×1×H×W or N×3×H×W by mean and deviation, to N×3×H×W."""
        return (x - self.mean) / self.std  # broadcasting repeats a single channel

    def features_of(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute features of normalised N×3×H×W images; see :meth:`forward`."""
        wanted = set(self.layers if layers is None else layers)
        out = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            name = self.names.get(index)
            if name in wanted:
                out[name] = x
                if len(out) == len(wanted):
                    break
        return out
