"""Fusing large images window by window."""

import torch


def windows(size, crop, stride):
    """Starts of windows of length ``crop`` every ``stride`` that cover ``size``; the last one ends at the border."""
    if size <= crop:
        return [0]
    return [*range(0, size - crop, stride), size - crop]


def ramp(length, overlap, device):
    """Blending weights of a window along one axis: linear over the overlap at both ends, 1 between."""
    position = torch.arange(length, device=device, dtype=torch.float32) + 0.5
    edge = torch.minimum(position, length - position)
    return (edge / max(overlap, 1)).clamp(max=1)


def slide(network, vi, ir, crop_size, stride=None, exact=True):
    """Fuse by overlapping windows.

    Args:
        network (Callable): A fusion network, or another function of windows of ``vi`` and ``ir`` that gives N×1×h×w.
        vi (Tensor): N×1×H×W, or N×3×H×W if ``network`` takes colours.
        ir (Tensor): N×1×H×W.
        crop_size (tuple[int, int]): Height and width of a window.
        stride (tuple[int, int], optional): Default: three quarters of the window.
        exact (bool): Use the network's own ``fuse_tiled`` where it has one: it gathers over the windows what the network
            pools, attends and normalises over the whole image, so that the result is the whole image's but for rounding.
            Otherwise, and with ``exact=False``, each window is fused by itself, and windows are blended linearly: faster,
            but each window has its own contrast.

    Returns:
        Tensor: N×1×H×W in [0, 1].

    Raises:
        ValueError: A stride that is not between 1 and the window's size would leave pixels out.
    """
    crop_size = tuple(crop_size)
    stride = tuple(stride or (max(1, c * 3 // 4) for c in crop_size))
    if any(not 1 <= s <= c for s, c in zip(stride, crop_size, strict=True)):
        raise ValueError(f'test_cfg: stride {stride} must be between 1 and crop_size {crop_size} (height, width)')
    if exact and hasattr(network, 'fuse_tiled'):
        return network.fuse_tiled(vi, ir, crop_size)
    height, width = vi.shape[2:]
    total, weight = torch.zeros_like(ir), torch.zeros_like(ir[:1])
    for top in windows(height, crop_size[0], stride[0]):
        for left in windows(width, crop_size[1], stride[1]):
            place = (..., slice(top, top + crop_size[0]), slice(left, left + crop_size[1]))
            fused = network(vi[place].contiguous(), ir[place].contiguous())
            h, w = fused.shape[2:]
            blend = ramp(h, crop_size[0] - stride[0], vi.device)[:, None] * ramp(w, crop_size[1] - stride[1], vi.device)
            total[place] += fused * blend
            weight[place] += blend
    return total / weight
