"""Compatibility with the stack, applied on import where it is needed.

- :mod:`.requirements`: a clear sentence where an unfit package would end in an unrelated traceback
- :mod:`.mmcv_ext`: ``mmcv._ext`` for mmcv-lite, backed by torchvision
- :mod:`.serialization`: resuming under torch >= 2.6
- :mod:`.environment`: paths in MMFUSION_* variables that mmengine's configs could not hold
- :mod:`.checkout`: configs of a checkout that is not installed

Nothing of the stack is altered: each of them uses the extension point that Python, torch or mmengine has for it.
"""

from . import environment, mmcv_ext, requirements, serialization
from .checkout import link_configs

__all__ = ['environment', 'link_configs', 'mmcv_ext', 'requirements', 'serialization', 'setup']


def setup() -> None:
    """Check what is installed and apply the compatibility points, once.

    Raises:
        ImportError: If mmcv is missing, or a version of transformers is installed that breaks mmpretrain.
    """
    requirements.check_mmcv()
    requirements.check_transformers()
    requirements.check_pkg_resources()
    mmcv_ext.install()
    serialization.install()
    environment.make_fit_for_configs()
