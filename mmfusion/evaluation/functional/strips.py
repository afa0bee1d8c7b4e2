"""Sums and maps over an image, strip by strip."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

STRIP = 1 << 17
"""Pixels: a plane of a megabyte, which is still enough for several threads to share."""


def strip_sums(function: Callable[..., Tensor], images: Sequence[Tensor], reach: int = 0, multiple: int = 1) -> Tensor:
    """Sum a function of pixels and their neighbours, strip by strip.

    Intermediate results are then of a strip's size, whatever the image's: they stay in the processor's cache, and large
    images do not take many times their own memory.

    Args:
        function: ``function(*strips)`` of 1×1×h×W tensors returns sums over their ``h − reach`` inner rows.
        images: 1×1×H×W each.
        reach: Rows of neighbours that a pixel needs, above and below together.
        multiple: Of which the strips' inner rows are one, but for the last.

    Returns:
        The sums over all ``H − reach`` rows.
    """
    strips = _strips(images, reach, multiple)
    return sum(function(*(x[..., rows, :] for x in images)) for rows in strips)


def strip_map(function: Callable[..., Tensor], images: Sequence[Tensor], reach: int = 0) -> Tensor:
    """Map pixels and their neighbours to a plane, strip by strip.

    For the same reasons as :func:`strip_sums`: fresh memory for whole planes costs more than what is computed.

    Args:
        function: ``function(*strips)`` of …×h×W tensors returns the ``h − reach`` inner rows of a plane.
        images: …×H×W each.
        reach: Rows of neighbours that a pixel needs, above and below together.

    Returns:
        All ``H − reach`` rows.
    """
    out = None
    for rows in _strips(images, reach):
        part = function(*(x[..., rows, :] for x in images))
        if out is None:
            out = part.new_empty(*part.shape[:-2], images[0].shape[-2] - reach, part.shape[-1])
        out[..., rows.start : rows.stop - reach, :] = part
    return out


def _strips(images: Sequence[Tensor], reach: int, multiple: int = 1) -> Iterator[slice]:
    """The rows of each strip, neighbours included."""
    height, width = images[0].shape[-2:]
    rows = max(1, STRIP // (width * multiple)) * multiple
    for top in range(0, height - reach, rows):
        yield slice(top, min(top + rows + reach, height))
