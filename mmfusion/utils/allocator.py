"""What glibc does with freed memory."""

import ctypes
import os
import sys
from collections.abc import Callable

# <malloc.h>: how much free memory at the end of the heap is kept, and how many blocks are the system's own.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEPT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc keep up to 2 GiB of freed memory for the process.

    By itself it gives large blocks back at once, such as the features of every layer, and the system clears the next ones
    page by page: on a CPU more than half of the time of many networks. The peak grows (docs/speed.md). Whoever sets one of
    glibc's own variables (``MALLOC_…``, or ``glibc.malloc`` in ``GLIBC_TUNABLES``) keeps what they say; allocators of other
    systems stay as they are.

    Returns:
        Whether it is so now.
    """
    if any(name.startswith('MALLOC_') for name in os.environ) or 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    mallopt = _of_libc('mallopt')
    return bool(mallopt and mallopt(_M_TRIM_THRESHOLD, _KEPT) and mallopt(_M_MMAP_MAX, 0))


def give_back_freed_memory() -> None:
    """Have glibc give freed memory back to the system.

    For where blocks of other sizes follow, which do not fit into those that were freed.
    """
    malloc_trim = _of_libc('malloc_trim')
    if malloc_trim:
        malloc_trim(0)


def _of_libc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == 'linux' else None
