"""What a model costs: parameters, operations, seconds and memory a pair."""

import math
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Cost of fusing one pair.

    ``parameters``; ``flops`` (2 a multiply-add); ``seconds``, the least of some runs; ``memory``, the most bytes of tensors
    at one time beyond the model's own.
    """

    parameters: int
    flops: int
    seconds: float
    memory: int


def _product(
    self_shape: Sequence[int],
    a_shape: Sequence[int],
    b_shape: Sequence[int],
    *args,
    out_shape: Sequence[int] | None = None,
    **kwargs,
) -> int:
    """FLOPs of self + a b, where a and b are matrices."""
    return 2 * math.prod(a_shape) * b_shape[-1]


# torch counts these products only in the form that makes a new tensor.
_IN_PLACE = {torch.ops.aten.addmm_: _product, torch.ops.aten.baddbmm_: _product}


def count_flops(module: nn.Module, *args, **kwargs) -> dict[str, int]:
    """Run a module once and count operations of convolutions and products.

    FLOPs (1 MAC = 2 FLOPs) are under ``''`` for the whole, and under the name of each submodule that was called.
    """
    root = type(module).__name__
    counter = FlopCounterMode(display=False, custom_mapping=_IN_PLACE)
    with counter, torch.no_grad():
        module(*args, **kwargs)
    counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    by_name = {name.removeprefix(f'{root}.'): n for name, n in counts.items() if name.startswith(f'{root}.')}
    return {**by_name, '': counts['Global']}


def count_parameters(module: nn.Module) -> int:
    """Count a module's parameters."""
    return sum(p.numel() for p in module.parameters())


class PeakMemory(TorchDispatchMode):
    """Record the most bytes held by tensors made within (``peak``)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = set()

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        known = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._add(x.untyped_storage(), known)
        return out

    def _add(self, storage: torch.UntypedStorage, known: set[int]) -> None:
        key = storage._cdata
        if key in known or key in self._seen:
            return
        self._seen.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def measure(model: nn.Module, height: int = 480, width: int = 640, repeats: int = 3) -> Cost:
    """Measure a fuser on a random pair, on its own device.

    Args:
        model: In eval mode, such as :func:`~mmfusion.models.hub.init_model` gives it.
        height, width: Of the pair.
        repeats: Runs that are timed, after one that is not.
    """
    device = next(model.parameters(), torch.empty(0)).device
    random = torch.Generator().manual_seed(0)
    pair = dict(
        vi=torch.rand(1, 3, height, width, generator=random).to(device),
        ir=torch.rand(1, 1, height, width, generator=random).to(device),
    )
    flops = count_flops(model, pair, mode='tensor')['']
    cuda = device.type == 'cuda'
    with torch.no_grad():
        if cuda:
            torch.cuda.synchronize(device)
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            model(pair, mode='tensor')
            memory = torch.cuda.max_memory_allocated(device) - before
        else:
            with PeakMemory() as counter:
                model(pair, mode='tensor')
            memory = counter.peak
        seconds = []
        for _ in range(repeats):
            if cuda:
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            model(pair, mode='tensor')
            if cuda:
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    return Cost(count_parameters(model), flops, min(seconds), memory)
