"""What priors give to fusion networks."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .frozen import FrozenPrior


@dataclass
class PriorFeatures:
    """Features of N images.

    Attributes:
        tokens (tuple[Tensor]): One N×C×h×w map per chosen layer, shallow to deep; empty if none were asked for.
        embedding (Tensor | None): N×E, of the whole image.
    """

    tokens: tuple[Tensor, ...] = ()
    embedding: Tensor | None = None

    def map(self, fn: Callable[[Tensor], Tensor]) -> 'PriorFeatures':
        """Apply ``fn`` to every tensor."""
        embedding = None if self.embedding is None else fn(self.embedding)
        return PriorFeatures(tuple(fn(t) for t in self.tokens), embedding)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> 'PriorFeatures':
        """Take some of the images; ``index`` is a slice, list or tensor."""
        return self.map(lambda t: t[index])

    @staticmethod
    def cat(parts: Sequence['PriorFeatures']) -> 'PriorFeatures':
        """Join features of several batches."""
        embeddings = [p.embedding for p in parts]
        return PriorFeatures(
            tuple(torch.cat(layer) for layer in zip(*(p.tokens for p in parts), strict=True)),
            None if embeddings[0] is None else torch.cat(embeddings),
        )


class FeaturePrior(FrozenPrior):
    """Base class of priors that turn images into :class:`PriorFeatures`.

    Subclasses write :meth:`extract` and :meth:`settings`.

    Args:
        grad: Whether features can be differentiated with respect to the images. Otherwise they are computed without a
            graph.
    """

    def __init__(self, grad: bool = False) -> None:
        super().__init__()
        self.grad = grad

    def forward(self, images: Tensor, names: Sequence[str | None] | None = None) -> PriorFeatures:
        """Compute features of a batch.

        Args:
            images: N×3×H×W, R, G, B in [0, 1].
            names: Where each image comes from.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f'{type(self).__name__}: images must be N×3×H×W (R, G, B), got {tuple(images.shape)}')
        with torch.set_grad_enabled(self.grad and torch.is_grad_enabled()):
            return self.extract(images)

    @abstractmethod
    def extract(self, images: Tensor) -> PriorFeatures:
        """Compute features of N×3×H×W images in [0, 1], resizing and normalising them."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Give all but the weights that the features depend on."""


class TextPrior(FrozenPrior):
    """Base class of priors that turn texts into features, N×E.

    Subclasses write ``forward(texts)``; ImageFuser hands on the ``text`` of the samples.
    """


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Bring images to ``size`` (height, width) whatever their proportions ('squash'): bicubic, antialiased.

    The whole image is kept, so that a map of tokens lies on the image; nothing is cropped. Differentiable.
    """
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=tuple(size), mode='bicubic', antialias=True, align_corners=False)
