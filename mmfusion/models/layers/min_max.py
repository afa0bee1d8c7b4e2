"""Min-max normalisation of a network's output."""

import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_gather


def _over_ranks(x, reduce):
    """``reduce`` of a scalar tensor over all ranks, with gradient to the rank that holds the extremum."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    return reduce(torch.stack(all_gather(x)))


def rescale(x, low, high):
    """(x − low) / (high − low) in float32; 0 where the range is empty, as in a constant image."""
    span = high - low
    return torch.where(span > 0, (x.float() - low) / torch.where(span > 0, span, torch.ones_like(span)), 0)


def min_max_normalize(x, per_image):
    """Stretch ``x`` to [0, 1]: (x − min x) / (max x − min x), in float32 whatever autocast says.

    Args:
        x (Tensor): N×1×H×W, any range.
        per_image (bool): Take the extrema of each image (test time), or of the whole batch over all ranks (training;
            the gradient also reaches the extrema, on whichever rank they lie).

    Returns:
        Tensor: N×1×H×W float32 in [0, 1]; a constant image gives 0.
    """
    x = x.float()
    if per_image:
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    else:
        low, high = _over_ranks(x.min(), torch.min), _over_ranks(x.max(), torch.max)
    return rescale(x, low, high)
