"""Serve the module ``mmcv._ext`` where mmcv has none, that is with mmcv-lite.

``mmcv.ops`` loads its compiled operators from ``mmcv._ext``. mmcv-lite, the build that needs no compiler, has no such
module, and so ``import mmdet.models`` and ``import mmseg.models`` fail although hardly any model calls a compiled
operator. :func:`install` puts a finder at the *end* of ``sys.meta_path``: Python asks it only after every other finder
has failed, so that with full mmcv installed it is never asked. What it serves is :mod:`mmfusion.compat.mmcv_ext_ops`,
which is read when ``mmcv._ext`` is first imported, not before.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

EXT_NAME = 'mmcv._ext'
_OPS_FILE = Path(__file__).with_name('mmcv_ext_ops.py')


class MMCVExtFinder(MetaPathFinder):
    """Finds ``mmcv._ext`` in :mod:`mmfusion.compat.mmcv_ext_ops`, and nothing else."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Return the spec of the stand-in if ``fullname`` is ``mmcv._ext``, else None."""
        if fullname != EXT_NAME:
            return None
        return spec_from_file_location(EXT_NAME, _OPS_FILE)


def install() -> None:
    """Append the finder to ``sys.meta_path``; a second call does nothing."""
    if not any(isinstance(finder, MMCVExtFinder) for finder in sys.meta_path):
        sys.meta_path.append(MMCVExtFinder())


def is_stand_in() -> bool:
    """Return whether mmcv's operators come from the stand-in (mmcv-lite)."""
    from importlib.util import find_spec

    spec = sys.modules[EXT_NAME].__spec__ if EXT_NAME in sys.modules else find_spec(EXT_NAME)
    return spec is not None and spec.origin == str(_OPS_FILE)
