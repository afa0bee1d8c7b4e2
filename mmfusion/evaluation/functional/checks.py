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
