"""Sums and maps over an image, strip by strip."""

STRIP = 1 << 17
"""Pixels: a plane of a megabyte, which is still enough for several threads to share."""


def strip_sums(function, images, reach=0, multiple=1):
    """Sum over an image what a function of its pixels and their neighbours finds, strip by strip.

    Intermediate results are then of a strip's size, whatever the image's: they stay in the processor's cache, and large
    images do not take many times their own memory.

    Args:
        function (Callable): ``function(*strips)`` of 1×1×h×W tensors returns sums over their ``h − reach`` inner rows.
        images (Sequence[Tensor]): 1×1×H×W each.
        reach (int): Rows of neighbours that a pixel needs, above and below together.
        multiple (int): Of which the strips' inner rows are one, but for the last.

    Returns:
        Tensor: The sums over all ``H − reach`` rows.
    """
    strips = _strips(images, reach, multiple)
    return sum(function(*(x[..., rows, :] for x in images)) for rows in strips)


def strip_map(function, images, reach=0):
    """The plane that a function finds from an image's pixels and their neighbours, strip by strip.

    For the same reasons as :func:`strip_sums`: fresh memory for whole planes costs more than what is computed.

    Args:
        function (Callable): ``function(*strips)`` of …×h×W tensors returns the ``h − reach`` inner rows of a plane.
        images (Sequence[Tensor]): …×H×W each.
        reach (int): Rows of neighbours that a pixel needs, above and below together.

    Returns:
        Tensor: All ``H − reach`` rows.
    """
    out = None
    for rows in _strips(images, reach):
        part = function(*(x[..., rows, :] for x in images))
        if out is None:
            out = part.new_empty(*part.shape[:-2], images[0].shape[-2] - reach, part.shape[-1])
        out[..., rows.start : rows.stop - reach, :] = part
    return out


def _strips(images, reach, multiple=1):
    """The rows of each strip, neighbours included."""
    height, width = images[0].shape[-2:]
    rows = max(1, STRIP // (width * multiple)) * multiple
    for top in range(0, height - reach, rows):
        yield slice(top, min(top + rows + reach, height))
