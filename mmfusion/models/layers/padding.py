"""Padding that a graph with a free size can hold."""

import torch
from torch import Tensor


def exporting() -> bool:
    """Tell whether torch.export, torch.compile or TorchScript records a graph.

    What depends on the size of an image must then be computed and not decided: a graph holds one branch alone.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


# Before torch 2.7 the two are not told apart.
_is_exporting = getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)


def exporting_file() -> bool:
    """Tell whether a graph is recorded for a file: not by torch.compile.

    For what exporters lack, and torch.compile does as PyTorch itself.
    """
    return _is_exporting() or torch.jit.is_tracing()


def gather_reflected(x: Tensor, before: tuple, after: tuple) -> Tensor:
    """Pad two dimensions by reflection, without a branch on the size.

    ``torch.nn.functional.pad`` gives the same values; a graph cannot always hold it where the padding is computed from the
    size. ``before`` are rows at the top and columns at the left, ``after`` those opposite, each less than H or W.
    """
    for dim, first, last in zip((-2, -1), before, after, strict=True):
        x = x.index_select(dim, reflected(x.shape[dim], first, last, x.device))
    return x


def reflected(length: int, before: int, after: int, device: torch.device | None = None) -> Tensor:
    """Compute positions that reflect a line of ``length`` at its ends."""
    position = (torch.arange(before + length + after, device=device) - before).abs()
    return (length - 1) - (length - 1 - position).abs()
