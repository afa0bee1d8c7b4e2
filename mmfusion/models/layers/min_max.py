"""Min-max normalisation of a network's output."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .precision import at_least_float32


def _over_ranks(x: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """``reduce`` of a scalar over all ranks; gradient reaches the extremum's rank."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    return _Extremum.apply(x, reduce)


class _Extremum(torch.autograd.Function):
    """Extremum over all ranks; gradients go to those that hold it."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        values = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(values, x.contiguous())
        values = torch.stack(values)
        extremum = reduce(values)
        holders = values == extremum
        ctx.share = holders[dist.get_rank()].to(x.dtype) / holders.sum().clamp(min=1)
        return extremum

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad * ctx.share, None


def rescale(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Compute (x − low) / (high − low); 0 where the range is empty.

    NaN and infinity stay: a diverged network must not pass for a black image.
    """
    x, low, high = (at_least_float32(v) for v in (x, low, high))
    span = high - low
    return torch.where(span == 0, 0, (x - low) / not_zero(span))


def not_zero(total: Tensor, added: float = 0.0) -> Tensor:
    """Add a small number to a denominator, and put 1 for 0.

    For exported files, in which numbers of 1e-8 and less are dropped where they are added.
    """
    return torch.where(total == 0, 1.0, total + added)


def min_max_normalize(x: Tensor, per_image: bool, eps: float = 0.0) -> Tensor:
    """Stretch an image to [0, 1]: (x − min x) / (max x − min x).

    Args:
        x: N×1×H×W, any range.
        per_image: Take the extrema of each image (test time), or of the whole batch over all ranks (training; the
            gradient also reaches the extrema, on whichever rank they lie).
        eps: Added to the range, which keeps the maximum below 1.

    Returns:
        N×1×H×W in [0, 1], float32 (float64 for float64); a constant image gives 0, NaN stays NaN.
    """
    x = at_least_float32(x)
    if per_image:
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    else:
        low, high = _over_ranks(x.min(), torch.min), _over_ranks(x.max(), torch.max)
    return rescale(x, low, high + eps)
