"""VGG features (torchvision's VGG16 and VGG19)."""

from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn
from torch.hub import get_dir
from torchvision.models import VGG16_Weights, VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from mmfusion.registry import MODELS

from .frozen import FrozenPrior

_ARCHS = {'vgg16': (cfgs['D'], VGG16_Weights.IMAGENET1K_V1), 'vgg19': (cfgs['E'], VGG19_Weights.IMAGENET1K_V1)}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, R, G, B


def layer_names(cfg):
    """Index in ``features`` → name, ``relu{stage}_{k}``, of every ReLU of a torchvision VGG configuration."""
    names, index, stage, k = {}, 0, 1, 1
    for width in cfg:
        if width == 'M':
            index, stage, k = index + 1, stage + 1, 1
        else:
            names[index + 1] = f'relu{stage}_{k}'
            index, k = index + 2, k + 1
    return names


@MODELS.register_module()
class VGGPrior(FrozenPrior):
    """Features of a frozen VGG.

    Args:
        arch (str): ``'vgg19'`` or ``'vgg16'``.
        weights (str): ``'imagenet'`` (torchvision's, downloaded), ``'caffe'`` (those of VGG's authors, for VGG16; they want
            0…255 less 123.68, 116.779 and 103.939 for R, G and B: see ``mean``), the path of a torchvision state dict (of
            the whole network or of its ``features``, any float type), or ``'random'`` (the same random numbers in every
            run; for tests and for want of anything better, and said in the log).
        layers (Sequence[str]): Features to give, such as ``'relu4_4'``.
        width (float): Factor on all widths, with ``weights='random'`` only: tiny networks for tests.
        mean, std (Sequence[float]): Of R, G, B, taken off and divided by. Default: those of ImageNet; 0 and 1/255 give
            VGG images of 0…255, as some public code does.

    Raises:
        ValueError: Unknown architecture or layer; ``width`` with real weights.
        FileNotFoundError: ``weights`` is no file.
        RuntimeError: The file does not fit, or the download failed.
    """

    def __init__(
        self, arch='vgg19', weights='imagenet', layers=('relu4_4', 'relu5_4'), width=1.0, mean=_MEAN, std=_STD
    ):
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
        # The same random weights in every run and on every rank: a prior is not in the checkpoint.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs, too
            self.features = make_layers(cfg)
            if weights == 'random':
                for m in self.features:
                    if isinstance(m, nn.Conv2d):
                        nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')
                        nn.init.zeros_(m.bias)
        self._load(arch, weights)
        self.names = names
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def _load(self, arch, weights):
        if weights == 'random':
            print_log(
                f'{arch} features have RANDOM weights (weights="random"): losses on them run, but mean little. For '
                'results, give ImageNet weights: MMFUSION_VGG19=FILE, or unset it to download them.',
                logger='current',
                level=30,
            )
            return
        if weights in ('imagenet', 'caffe'):
            spec = _ARCHS[arch][1] if weights == 'imagenet' else VGG16_Weights.IMAGENET1K_FEATURES
            try:
                state = spec.get_state_dict(progress=True, check_hash=True)
            except OSError as e:
                cached = Path(get_dir()) / 'checkpoints' / Path(spec.url).name
                raise RuntimeError(
                    f'{arch}: could not download {spec.url} ({e}). Fetch it by other means and put it at {cached}, or give '
                    "its path by `weights` (in the configs: the environment variable MMFUSION_VGG19); 'random' runs without."
                ) from e
        else:
            if not Path(weights).is_file():
                raise FileNotFoundError(
                    f"{arch}: weights={weights!r} is no file. Expected the path of torchvision's {arch} state dict "
                    f"({_ARCHS[arch][1].url}), 'imagenet' to download it, or 'random'."
                )
            state = torch.load(weights, map_location='cpu', weights_only=True)
        state = {k.removeprefix('features.'): v.float() for k, v in state.items() if not k.startswith('classifier.')}
        try:
            self.features.load_state_dict(state)
        except RuntimeError as e:
            raise RuntimeError(f'{weights}: not the features of {arch} in torchvision key names. {e}') from e

    def forward(self, x, layers=None):
        """Features of grey or colour images.

        Args:
            x (Tensor): N×1×H×W or N×3×H×W (R, G, B) in [0, 1]; one channel is repeated.
            layers (Sequence[str], optional): Other layers than those of the constructor.

        Returns:
            dict[str, Tensor]: Layer name → N×C×h×w; deeper layers than asked for are not computed.
        """
        wanted = set(self.layers if layers is None else layers)
        x = (x - self.mean) / self.std  # broadcasting repeats a single channel
        out = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            name = self.names.get(index)
            if name in wanted:
                out[name] = x
                if len(out) == len(wanted):
                    break
        return out
