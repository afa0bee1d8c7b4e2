"""Fusing large images window by window."""

from collections.abc import Callable

import torch
from torch import Tensor

from .batch import Batch


def windows(size: int, crop: int, stride: int) -> list[int]:
    """Place windows of ``crop`` every ``stride``, the last at the border."""
    if size <= crop:
        return [0]
    return [*range(0, size - crop, stride), size - crop]


def ramp(length: int, overlap: int, device: torch.device) -> Tensor:
    """Compute blending weights along one axis, linear over the overlaps."""
    position = torch.arange(length, device=device, dtype=torch.float32) + 0.5
    edge = torch.minimum(position, length - position)
    return (edge / max(overlap, 1)).clamp(max=1)


BLENDS = ('linear', 'mean', 'mean_border')


def slide(
    fuse: Callable[[Batch], Tensor],
    batch: Batch,
    crop_size: tuple[int, int],
    stride: tuple[int, int] | None = None,
    blend: str = 'linear',
) -> Tensor:
    """Fuse by overlapping windows; N×C×H×W.

    Args:
        fuse: From the batch of a window to its fused image, N×C×h×w.
        batch: Whole images; annotations, companions and priors of a window are its own.
        crop_size: Height and width of a window.
        stride: Default: three quarters of the window.
        blend: Where windows overlap: ``'linear'``, each fades out towards its border, ``'mean'``, or
            ``'mean_border'``: the mean, where a last row or column of windows that ends at the border by itself counts
            twice, as in public code that adds the windows at the border to those of the grid.

    Raises:
        ValueError: If the stride is larger than the window, or below 1; if ``blend`` is unknown.
    """
    if blend not in BLENDS:
        raise ValueError(f'test_cfg.blend must be one of {", ".join(BLENDS)}, got {blend!r}')
    crop_size = tuple(crop_size)
    stride = tuple(stride or (max(1, c * 3 // 4) for c in crop_size))
    if any(not 1 <= s <= c for s, c in zip(stride, crop_size, strict=True)):
        raise ValueError(f'test_cfg: stride {stride} must be between 1 and crop_size {crop_size} (height, width)')
    size = tuple(batch['vi_rgb'].shape[-2:])
    total = weight = None
    for top in windows(size[0], crop_size[0], stride[0]):
        for left in windows(size[1], crop_size[1], stride[1]):
            place = (..., slice(top, top + crop_size[0]), slice(left, left + crop_size[1]))
            fused = fuse(batch.window(place, size))
            if total is None:
                total = fused.new_zeros(*fused.shape[:2], *size, dtype=torch.float32)
                weight = torch.zeros_like(total[:1, :1])
            share = torch.ones_like(weight[place])
            if blend == 'linear':
                overlaps = (c - s for c, s in zip(crop_size, stride, strict=True))
                down, right = (ramp(n, o, share.device) for n, o in zip(share.shape[2:], overlaps, strict=True))
                share = share * down[:, None] * right
            elif blend == 'mean_border':
                ends = [
                    start + crop == n and start % step == 0
                    for start, crop, n, step in zip((top, left), crop_size, size, stride, strict=True)
                ]
                share = share * 2 ** sum(ends)
            total[place] += fused * share
            weight[place] += share
    return total / weight
