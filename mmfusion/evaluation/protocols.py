"""From colour images to values, as each public evaluation does it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmfusion.evaluation.specs import MetricSpec

from .functional.memo import Shared
from .specs import METRIC_SPECS, PROTOCOLS, resolve_metrics

_GREY = (0.298936021293775, 0.587043074451121, 0.114020904255104)
"""MATLAB's ``rgb2gray``: the first row of the inverse of its NTSC matrix."""


def rgb_to_grey(image: Tensor) -> Tensor:
    """Make 8-bit images grey as MATLAB's and Octave's ``rgb2gray`` does.

    Args:
        image: N×3×H×W (R, G, B) or N×1×H×W uint8; the latter is returned as it is.

    Returns:
        N×1×H×W uint8.

    Examples:
        >>> rgb_to_grey(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)).item()
        76
    """
    if image.shape[1] == 1:
        return image
    # The three planes of most "colour" infrared files are equal; sums of products need doubles to round as MATLAB.
    r, g, b = (plane.double() * weight for plane, weight in zip(image.unbind(1), _GREY, strict=True))
    return (r + g + b + 0.5).floor().to(torch.uint8)[:, None]


def evaluate_images(
    fused: Tensor, ir: Tensor, vi: Tensor, metrics: str | Sequence[str] = 'all', protocol: str = 'tang'
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Compute all metrics of a batch of 8-bit images of one size.

    - ``'tang'``: every colour image becomes grey first (:func:`rgb_to_grey`).
    - ``'vifb'``: channel by channel, then the mean; a grey source serves every channel of a colour fused image; all
      images become grey where the fused image is grey. Spatial frequency runs over the channels side by side.

    Args:
        fused, ir, vi: N×1×H×W or N×3×H×W (R, G, B) uint8, each on its own.
        metrics: Names, or ``'all'``.
        protocol: ``'tang'`` or ``'vifb'``.

    Returns:
        N values of each metric, and for the metrics with a NaN the reason.

    Raises:
        ValueError: If sizes differ, a tensor is not uint8, or the protocol or a metric is unknown.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'unknown protocol {protocol!r}; known are {", ".join(PROTOCOLS)}')
    specs = resolve_metrics(metrics)
    for name, image in (('fused', fused), ('infrared', ir), ('visible', vi)):
        if not isinstance(image, torch.Tensor):
            raise TypeError(f'the {name} images must be a tensor, got {type(image).__name__}: use torch.from_numpy.')
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] not in (1, 3):
            raise ValueError(
                f'the {name} images must be uint8 of shape N×1×H×W or N×3×H×W, got {image.dtype} of '
                f'{tuple(image.shape)}'
            )
        if image.shape[-2:] != fused.shape[-2:]:
            raise ValueError(
                f'the {name} image is {image.shape[-1]}×{image.shape[-2]} but the fused image '
                f'{fused.shape[-1]}×{fused.shape[-2]} (width×height)'
            )
    if protocol == 'tang' or fused.shape[1] == 1:
        fused, ir, vi = (rgb_to_grey(x) for x in (fused, ir, vi))
    count, channels = fused.shape[:2]
    # Channels become images of their own; a grey source is every channel's.
    planes = [x.expand(-1, channels, -1, -1).reshape(-1, 1, *x.shape[-2:]).double() for x in (fused, ir, vi)]
    values = {spec.name: [] for spec in specs}
    # One plane after the other: what its metrics have in common is computed once, and then forgotten.
    for row in zip(*(x.split(1) for x in planes), strict=True):
        shared = Shared()
        for spec in specs:
            values[spec.name].append(_value(spec, row, protocol, shared))
    values = {name: torch.cat(value).view(count, channels).mean(1) for name, value in values.items()}
    if channels == 3 and 'SF' in values and not values['SF'].isnan().any():
        side_by_side = fused.transpose(1, 2).flatten(2)[:, None].double()
        values['SF'] = METRIC_SPECS['SF'](side_by_side, None, None, protocol, data_range=255)
    reasons = {spec.name: _reason(spec, fused, protocol) for spec in specs if values[spec.name].isnan().any()}
    return {name: value.cpu() for name, value in values.items()}, reasons


def _value(spec: MetricSpec, row: Sequence[Tensor], protocol: str, shared: Shared) -> Tensor:
    """One value of one set of planes; NaN where too small."""
    if min(row[0].shape[-2:]) < spec.min_size_under(protocol):
        return row[0].new_full((1,), math.nan)
    return spec(*row, protocol=protocol, shared=shared, data_range=255)


def _reason(spec: MetricSpec, fused: Tensor, protocol: str) -> str:
    smallest = spec.min_size_under(protocol)
    if min(fused.shape[-2:]) < smallest:
        return f'the image is smaller than {smallest}×{smallest} pixels'
    return spec.undefined or 'not defined for this image'
