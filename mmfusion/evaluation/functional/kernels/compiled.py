"""How CPU kernels are compiled and shared between threads.

Tensor operations pass over memory once for each step of a formula, and share work between threads in pieces too small to
gain from it. These loops do all steps while a row is in the processor's nearest cache, by vector instructions. The first
call compiles, for some seconds; later processes read the result from numba's cache.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from numba import njit

# No 'nnan', 'ninf': what is not finite is told by comparisons.
_options = dict(nogil=True, cache=True, error_model='numpy', fastmath={'nsz', 'contract', 'reassoc', 'arcp'})
compiled = njit(**_options)
inlined = njit(inline='always', **_options)
"""For the parts of a kernel: loops are made vector instructions only where the compiler sees that arrays are apart."""


_WORTH_A_THREAD = 1 << 17
"""Operations: fewer are done before a thread has begun."""


def in_threads(function: Callable[[int, int], Any], rows: int, work: int, threads: int) -> list:
    """Run ``function(top, bottom)`` on stretches of ``rows`` at the same time.

    Threads are made again each time, since a pool would not survive the fork of a dataloader's workers.

    Args:
        function: Releases the interpreter's lock, as compiled functions do.
        rows: How many.
        work: Roughly the number of operations: little work is not divided.
        threads: How many at most.

    Returns:
        Its results, stretch by stretch.
    """
    threads = max(1, min(threads, rows, work // _WORTH_A_THREAD))
    ends = [rows * k // threads for k in range(threads + 1)]
    if threads == 1:
        return [function(0, rows)]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(function, *stretch) for stretch in pairwise(ends[1:])]
        return [function(*ends[:2]), *(other.result() for other in others)]
