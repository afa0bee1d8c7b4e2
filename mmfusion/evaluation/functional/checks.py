"""What every metric asks of its images."""

import torch


def prepare(*images, data_range=255.0, min_size=1, dtype=torch.float64):
    """Check images that belong together and bring them to 0–255.

    Args:
        *images (Tensor): N×1×H×W each, of one shape; ``uint8`` or floating point.
        data_range (float): The value that white has: 255, or 1 for images in [0, 1].
        min_size (int): The smallest height and width that the metric is defined for.
        dtype (torch.dtype): The type to compute in.

    Returns:
        list[Tensor]: The images as ``dtype``, N×1×H×W in 0–255.

    Raises:
        ValueError: A tensor is not N×1×H×W, the shapes differ, an image is smaller than the metric's window, or
            ``data_range`` is neither 1 nor 255.
    """
    if data_range not in (1, 255):
        raise ValueError(f'data_range must be 255 (images in 0–255) or 1 (images in 0–1), got {data_range!r}')
    shape = images[0].shape
    for image in images:
        if image.ndim != 4 or image.shape[1] != 1:
            raise ValueError(
                f'a metric takes grey images N×1×H×W, got a tensor of shape {tuple(image.shape)}. Colour images go '
                'through mmfusion.evaluation.evaluate_images, which makes grey ones as the protocol does.'
            )
        if image.shape != shape:
            raise ValueError(
                f'fused and source images differ in shape: {tuple(shape)} and {tuple(image.shape)}; all must be of '
                'one size'
            )
    if min(shape[-2:]) < min_size:
        raise ValueError(
            f'the images are {shape[-1]}×{shape[-2]} (width×height), smaller than the {min_size}×{min_size} pixels '
            'that this metric needs'
        )
    scale = 255.0 / data_range
    return [image.to(dtype) * scale if scale != 1 else image.to(dtype) for image in images]


def ratio(numerator, denominator):
    """``numerator / denominator``, NaN wherever the denominator is zero (the metric is not defined there)."""
    return torch.where(denominator != 0, numerator / denominator, torch.full_like(denominator, torch.nan))


def indicator(compare, a, b):
    """1 where ``compare(a, b)`` holds, else 0, as numbers of ``a``'s type.

    Multiplying with it selects pixels ten times faster on a CPU than ``torch.where`` and ``masked_fill``. What it
    multiplies has to be finite.

    Examples:
        >>> indicator(torch.gt, torch.tensor([1., 3.]), 2)
        tensor([0., 1.])
    """
    return compare(a, b, out=torch.empty_like(a))


class Shared:
    """Intermediate results of one set of images, for the metrics that have them in common.

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

    def __init__(self):
        self._results = {}

    def __call__(self, function, *images):
        key = function, *map(id, images)
        if key not in self._results:
            # The tensors are kept with the result: as long as they live, no other object has their id.
            self._results[key] = function(self, *images), images
        return self._results[key][0]


def each(function, images, shared=None):
    """Run ``function`` on one image (and its sources) at a time and join the values.

    Memory is then that of one image whatever the batch, its planes stay in the processor's cache, and the values
    cannot depend on the batch.

    Args:
        function (Callable): ``function(shared, *row)`` takes one 1×1×H×W tensor per entry of ``images`` and returns one
            value.
        images (Sequence[Tensor]): N×1×H×W each.
        shared (Shared, optional): Results of other metrics on these very images; of use for a batch of one.

    Returns:
        Tensor: N values.
    """
    if len(images[0]) == 1:
        return function(shared or Shared(), *images).view(1)
    rows = zip(*(x.split(1) for x in images), strict=True)
    return torch.cat([function(Shared(), *row).view(1) for row in rows])


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
