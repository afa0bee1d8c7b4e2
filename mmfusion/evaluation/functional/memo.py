"""Metrics image by image, with intermediate results that several metrics share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Shared:
    """Intermediate results of one set of images that metrics share.

    ``shared(function, *images)`` is ``function(shared, *images)``, computed the first time only. What is the same is
    told by the function and by the tensors being the same objects, so a result can never be taken for another image's.
    Neither these tensors nor a result may be changed in place.

    Examples:
        >>> shared, x = Shared(), torch.ones(3)
        >>> def total(shared, image):
        ...     return image.sum()
        >>> shared(total, x) is shared(total, x)
        True
    """

    def __init__(self) -> None:
        self._results = {}

    def __call__(self, function: Callable, *images) -> Any:
        key = function, *map(id, images)
        if key not in self._results:
            # The tensors are kept with the result: as long as they live, no other object has their id.
            self._results[key] = function(self, *images), images
        return self._results[key][0]


def each(function: Callable[..., Tensor], images: Sequence[Tensor], shared: Shared | None = None) -> Tensor:
    """Run ``function`` image by image, with sources, and join N values.

    Memory is then that of one image whatever the batch, its planes stay in the processor's cache, and the values
    cannot depend on the batch.

    Args:
        function: ``function(shared, *row)`` takes one 1×1×H×W tensor per entry of ``images`` and returns one value.
        images: N×1×H×W each.
        shared: Results of other metrics on these very images; of use for a batch of one.
    """
    if len(images[0]) == 1:
        return function(shared or Shared(), *images).view(1)
    rows = zip(*(x.split(1) for x in images), strict=True)
    return torch.cat([function(Shared(), *row).view(1) for row in rows])
