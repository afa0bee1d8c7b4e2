"""Visual saliency of grey images."""

import torch
from torch import Tensor


def visual_saliency(image: Tensor, stretch: bool = True) -> Tensor:
    """Compute visual saliency, levels' distances from others (Zhai and Shah, 2006).

    S(p) = Σ_q |I(p) − I(q)| over 256 levels of N×1×H×W in [0, 1]: the same shape, in [0, 1], without gradient; 0 for a
    constant image. ``stretch`` maps each image's smallest and largest value to 0 and 1, instead of dividing by the largest.
    """
    levels = (image.detach() * 255).round().long().flatten(1)
    axis = torch.arange(256, device=image.device, dtype=torch.float32)
    counts = torch.stack([torch.bincount(row, minlength=256) for row in levels]).float()
    contrast = counts @ (axis[:, None] - axis).abs() / levels.shape[1]
    saliency = contrast.gather(1, levels)
    low, high = saliency.amin(1, keepdim=True) * stretch, saliency.amax(1, keepdim=True)
    return ((saliency - low) / (high - low).clamp_min(1e-6)).view_as(image)
