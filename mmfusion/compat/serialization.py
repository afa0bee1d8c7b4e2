"""Let mmengine resume under torch >= 2.6, which loads checkpoints with ``weights_only=True``.

That mode unpickles tensors and plain containers only, and refuses every class it does not know. A checkpoint of
mmengine's ``Runner`` also holds its message hub: ``HistoryBuffer`` objects over NumPy arrays, NumPy scalars, and random
states where a hook keeps them. These classes hold plain data, and exactly these are declared safe; ``weights_only``
itself is never turned off.
"""

import pickle
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import numpy as np
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.utils import digit_version

# The kinds of numbers that logs, counters and NumPy's random state are made of.
_DTYPES = (
    *('bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'),
    *('float16', 'float32', 'float64'),
)
_STATISTICS = ('min', 'max', 'current', 'mean')


def _history_buffer_method(owner, name):
    """Stand for ``getattr`` in a checkpoint, for a ``HistoryBuffer``'s four statistics.

    It is saved with them, looked up by name. ``getattr`` itself would open every attribute of the allowed classes to a
    forged checkpoint.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(
            f'the checkpoint asks for the attribute {name!r} of {owner!r}; only {", ".join(_STATISTICS)} of '
            "mmengine's HistoryBuffer are allowed"
        )
    return getattr(owner, name)


def safe_globals() -> list:
    """Return the classes of Runners' checkpoints that torch does not allow.

    A pair (object, name) is an object under the name that stands in the checkpoint. NumPy 2 renamed ``numpy.core`` to
    ``numpy._core``; its two rebuilding functions are allowed under both names, so that a checkpoint written with one
    version is read with the other.
    """
    rebuild_array, rebuild_scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy_functions = [
        (function, f'{module}.multiarray.{name}')
        for function, name in ((rebuild_array, '_reconstruct'), (rebuild_scalar, 'scalar'))
        for module in ('numpy.core', 'numpy._core')
    ]
    dtypes = sorted({type(np.dtype(name)) for name in _DTYPES}, key=lambda dtype: dtype.__name__)
    return [
        HistoryBuffer,
        (_history_buffer_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *dtypes,
        *numpy_functions,
    ]


class AfterTorch(MetaPathFinder):
    """Calls :func:`allow_runner_checkpoints` when torch has been imported, and finds nothing else.

    torch takes most of the time that a command needs to start, and what only reads arguments does without it.
    """

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Return torch's own spec with a call after it; else None."""
        if fullname != 'torch':
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                allow_runner_checkpoints()

            spec.loader.exec_module = exec_module
        return spec


def install() -> None:
    """Allow checkpoints as soon as torch is imported, once."""
    if 'torch' in sys.modules:
        allow_runner_checkpoints()
    elif not any(isinstance(finder, AfterTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterTorch())


def allow_runner_checkpoints() -> None:
    """Declare :func:`safe_globals` safe for ``torch.load(weights_only=True)``; nothing to do on torch before 2.6."""
    import torch

    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        torch.serialization.add_safe_globals(safe_globals())
