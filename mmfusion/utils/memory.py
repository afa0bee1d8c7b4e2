"""Errors that say that memory ran out."""

import torch

_WORDS = (
    "can't allocate memory", 'cannot allocate memory', 'not enough memory', 'out of memory', 'insufficient memory',
    'failed to allocate', 'bad_alloc',
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in _WORDS)
