"""From a network's own output range to [0, 1], and to 8 bits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmfusion.models.layers import at_least_float32, exporting, gather_reflected, min_max_normalize
from mmfusion.utils import to_uint8

ROUNDINGS = ('round', 'truncate')
PADDINGS = ('reflect', 'center', 'swinir')
# Pixels of an image from which colours are computed band by band.
_LARGE = 2**22


def finish(image: Tensor, steps: Sequence) -> Tensor:
    """Apply output steps one after the other.

    Args:
        image: N×C×H×W.
        steps: ``'clamp'`` to [0, 1]; ``'min_max'``, each image stretched to [0, 1]; ``('min_max', ε)``, the same with ε
            added to the range, as much public code does; ``'max'``, each image divided by its maximum and cut at 0;
            ``('range', low, high)``, [low, high] mapped to [0, 1].

    Returns:
        N×C×H×W, float32 where a step worked on half precision.
    """
    for step in steps:
        name, *bounds = (step,) if isinstance(step, str) else step
        image = at_least_float32(image)
        if name == 'clamp':
            image = image.clamp(0, 1)
        elif name == 'min_max':
            image = min_max_normalize(image, per_image=True, eps=bounds[0] if bounds else 0.0)
        elif name == 'max':
            image = (image / image.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)).clamp(0, 1)
        else:
            low, high = bounds
            image = (image - low) / (high - low)
    return image


def check_steps(steps: Sequence, key: str) -> tuple:
    """Check output steps of :func:`finish` in a config, where ``key`` names them.

    Raises:
        ValueError: If a step is unknown, its bounds are not two rising numbers, or its ε is not positive.
    """
    steps = (steps,) if isinstance(steps, str) else tuple(steps or ())
    if len(steps) > 1 and any(isinstance(value, int | float) for value in steps):  # one step without its own brackets
        steps = (steps,)
    for step in steps:
        match [step] if isinstance(step, str) else list(step):
            case ['clamp' | 'min_max' | 'max']:
                known = True
            case ['min_max', eps]:
                known = eps > 0
            case ['range', low, high]:
                known = low < high
            case _:
                known = False
        if not known:
            raise ValueError(
                f"{key}: expected steps 'clamp', 'min_max', ('min_max', ε), 'max' or ('range', low, high), got {step!r}"
            )
    return steps


def by_bands(function: Callable[..., Tensor], images: Mapping[str, Tensor]) -> Tensor:
    """Apply a function of single pixels; to large images band by band.

    What it computes on its way would otherwise need several times the memory of the image. It takes N×C×H×W by name, all
    of one height and width, and gives an N×C×H×W.
    """
    height, width = next(iter(images.values())).shape[-2:]
    if height * width < _LARGE or torch.is_grad_enabled() or exporting():
        return function(**images)
    rows, whole = max(1, _LARGE // 4 // width), None
    for top in range(0, height, rows):
        band = function(**{name: image[..., top : top + rows, :] for name, image in images.items()})
        if whole is None:
            whole = band.new_empty(*band.shape[:2], height, width)
        whole[..., top : top + rows, :] = band
    return whole


def to_levels(image: Tensor, rounding: str) -> Tensor:
    """Bring an image in [0, 1] to 256 levels.

    ``'round'`` leaves the image as it is, since writing rounds; ``'truncate'`` cuts to the level below, as a cast to 8 bits
    does in much public code. Values within 1e-4 of a level count as that level: float32 conversions of colour end so far
    beside it.
    """
    return image if rounding == 'round' else (image * 255 + 1e-4).floor() / 255


def pad_to_multiple(image: Tensor, divisor: int, mode: str = 'reflect') -> Tensor:
    """Pad N×C×H×W to a multiple; float32 if it was boolean.

    Args:
        image: N×C×H×W.
        divisor: Of height and width.
        mode: ``'reflect'`` at the right and bottom, or the last row and column where the image is too small for it;
            ``'center'``, the same on all sides, half of it at the top and left; ``'swinir'`` as SwinIR and its descendants
            pad in tests: the border pixel is mirrored, too, and a multiple is padded by a whole divisor.
    """
    height, width = image.shape[-2:]
    if mode == 'swinir':
        rows, columns = (
            torch.cat([index := torch.arange(n, device=image.device), index.flip(0)])[: n + divisor - n % divisor]
            for n in (height, width)
        )
        image = image[..., rows, :][..., columns]
        height, width = image.shape[-2:]
    down, right = -height % divisor, -width % divisor
    top, left = padding_before(height, divisor, mode), padding_before(width, divisor, mode)
    if exporting():
        return gather_reflected(image, (top, left), (down - top, right - left))
    if not (down or right):
        return image
    mode = 'reflect' if down - top < height and right - left < width else 'replicate'
    image = image.float() if image.dtype == torch.bool else image
    return F.pad(image, (left, right - left, top, down - top), mode=mode)


def padding_before(length: int, divisor: int, mode: str) -> int:
    """Count the rows or columns that :func:`pad_to_multiple` puts first."""
    return -length % divisor // 2 if mode == 'center' else 0


def resize_at_8_bits(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images in [0, 1] at 8 bits by Pillow, as SciPy's ``imresize``.

    Bilinear, N×C×H×W, without gradient.
    """
    levels = to_uint8(image).cpu().flatten(0, 1).numpy()
    planes = [np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR)) for plane in levels]
    return torch.from_numpy(np.stack(planes)).unflatten(0, image.shape[:2]).to(image) / 255
