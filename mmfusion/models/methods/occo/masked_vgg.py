"""VGG features of masked images, where the mask can be seen.

Outside its mask a masked image is black, and so are, layer by layer, its features those of a black image: the response of
a black image is computed once for each size, and of each masked image only the window that its mask's bounding box, grown
by the receptive field, can change. Results are those of the whole image.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

_LUMA = (0.299, 0.587, 0.114)  # BT.601


class Window(NamedTuple):
    """Rows and columns [top, bottom) × [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, margin, size):
        """Larger by ``margin`` on each side, within a map of ``size``."""
        return Window(
            max(0, self.top - margin),
            min(size[0], self.bottom + margin),
            max(0, self.left - margin),
            min(size[1], self.right + margin),
        )

    def pooled(self, size):
        """The cells that it touches of a 2×2 pooled map of ``size``."""
        return Window(
            self.top // 2, min(-(-self.bottom // 2), size[0]), self.left // 2, min(-(-self.right // 2), size[1])
        )

    def doubled(self):
        """The pixels under the cells of a pooled map."""
        return Window(*(2 * v for v in self))

    def within(self, other=None):
        """Index of this window in a map, or in ``other``'s piece."""
        top, left = (other.top, other.left) if other else (0, 0)
        return (..., slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left))

    def overlap(self, other):
        """The part that both share."""
        return Window(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )


def bounding_windows(regions):
    """Bounding boxes of N×1×H×W boolean regions; None for an empty one."""
    rows, cols = regions.any(3)[:, 0].int(), regions.any(2)[:, 0].int()
    height, width = regions.shape[2:]
    boxes = torch.stack(
        [
            rows.argmax(1),
            height - rows.flip(1).argmax(1),
            cols.argmax(1),
            width - cols.flip(1).argmax(1),
        ],
        dim=1,
    )
    return [Window(*box) if full else None for box, full in zip(boxes.tolist(), rows.any(1).tolist(), strict=True)]


class MaskedFeatures:
    """Features of masked images for one VGG.

    Args:
        features (nn.Sequential): Of a torchvision VGG without batch norm.
        layers (dict[int, str]): Index in ``features`` → name of each feature to give. Each must be the last of its stage.
    """

    def __init__(self, features, layers):
        self.stages, self.names, start = [], [], 0
        pools = [i for i, m in enumerate(features) if isinstance(m, nn.MaxPool2d)]
        for end in [*pools, len(features)]:
            if start < end and len([n for n in self.names if n]) < len(layers):
                self.stages.append(features[start:end])
                self.names.append(layers.get(end - 1))
            start = end + 1
        self._black = (None, None)

    def covers(self, layers):
        """Whether all of ``layers`` lie at the end of a stage."""
        return set(layers) <= set(self.names)

    @torch.no_grad()
    def _black_response(self, black):
        """Every stage's response to a black image of the last size."""
        key = (tuple(black.shape), black.device, black.dtype)
        if self._black[0] != key:
            x, inputs, outputs = black, [], []
            for stage in self.stages:
                inputs.append(x)
                outputs.append(stage(x))
                x = F.max_pool2d(outputs[-1], 2)
            self._black = (key, (inputs, outputs))
        return self._black[1]

    def __call__(self, images, black, window):
        """Features of images that are black outside one window.

        Args:
            images (Tensor): N×3×H×W, normalised.
            black (Tensor): 1×3×H×W, a black image, normalised.
            window (Window | None): Where they may differ from it; None for nowhere.

        Returns:
            dict[str, Tensor]: Name → N×C×h×w.
        """
        inputs, outputs = self._black_response(black)
        n, result, changed = len(images), {}, None
        for stage, name, x, y in zip(self.stages, self.names, inputs, outputs, strict=True):
            if window is None:
                if name:
                    result[name] = y.expand(n, -1, -1, -1)
                continue
            size, reach = x.shape[2:], sum(isinstance(m, nn.Conv2d) for m in stage)
            out = window.grown(reach, size)
            # Zero padding at a cut border spoils as many pixels as there are convolutions; they are read in addition.
            read = out.grown(reach, size)
            patch = images[read.within()] if changed is None else _paste(x, read, changed, window, n)
            value = stage(patch)[out.within(read)]
            if name:
                result[name] = _paste(y, Window(0, size[0], 0, size[1]), value, out, n)
            window = out.pooled((size[0] // 2, size[1] // 2))
            changed = F.max_pool2d(_paste(y, window.doubled(), value, out, n), 2)
        return result


class RegionFeatures:
    """VGG features of grey images' regions, and of the first layer.

    Args:
        prior (VGGPrior): The network and its layers.
        grey (bool): Whether regions go through a first convolution folded to one channel by BT.601, without
            normalisation, as in :meth:`shallow`; otherwise they are repeated to three channels and normalised.
    """

    def __init__(self, prior, grey=False):
        self.prior, self.grey = prior, grey
        self._masked = MaskedFeatures(prior.features, {k: v for k, v in prior.names.items() if v in prior.layers})
        # BT.601 weights on the first layer turn it into one that takes a grey image.
        weight = prior.features[0].weight.detach()
        self._grey_weight = (weight * weight.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def __deepcopy__(self, memo):
        """Return the same object: a copy (EMA) shares the prior."""
        return self

    def masked(self, images, regions, batch=8):
        """Compute features of grey images within regions, black elsewhere.

        On a CPU images go through one by one, and each costs what the window of its region costs; an image's features are
        the same, to the bit, whatever others there are. On a GPU, where small convolutions do not pay, whole images go
        through in batches.

        Args:
            images (Tensor): N×1×H×W in [0, 1].
            regions (Tensor): N×1×H×W bool.
            batch (int): Images at a time on a GPU.

        Returns:
            dict[str, Tensor]: Layer name → N×C×h×w.
        """
        prior = self.prior
        # The folded convolution of x is the convolution of (0.299 x, 0.587 x, 0.114 x).
        prepare = self._luma_shares if self.grey else prior.normalize
        images = prepare(images * regions)
        if images.is_cuda:
            parts = [prior.features_of(part) for part in images.split(batch)]
        elif not self._masked.covers(prior.layers):
            parts = [prior.features_of(image) for image in images.split(1)]
        else:
            black = prepare(torch.zeros_like(images[:1, :1], requires_grad=False))
            windows = bounding_windows(regions)
            parts = [self._masked(x, black, window) for x, window in zip(images.split(1), windows, strict=True)]
        return {layer: torch.cat([part[layer] for part in parts]) for layer in prior.layers}

    @staticmethod
    def _luma_shares(x):
        return x * torch.tensor(_LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)

    def shallow(self, x):
        """Compute relu1_1 of grey images by a folded convolution (BT.601).

        Args:
            x (Tensor): N×1×H×W in [0, 1], not normalised.

        Returns:
            Tensor: N×64×H×W.
        """
        first = self.prior.features[0]
        self._grey_weight = self._grey_weight.to(first.weight)
        return F.relu(F.conv2d(x, self._grey_weight, first.bias, padding=1))


def _paste(background, piece, value, window, n):
    """Paste ``value``, at ``window``, into N copies of a background's piece."""
    shared = window.overlap(piece)
    if shared == piece:
        return value[piece.within(window)]
    canvas = background[piece.within()].repeat(n, 1, 1, 1)
    canvas[shared.within(piece)] = value[shared.within(window)]
    return canvas
