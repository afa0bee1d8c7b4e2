"""Say in one sentence what is wrong with an installation.

The stack itself would end in an unrelated traceback. All checks read the metadata of installed packages, or look for a
module without importing it.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def _installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def check_mmcv() -> None:
    """Raise ``ImportError`` if neither mmcv nor mmcv-lite is installed."""
    if find_spec('mmcv') is None:
        raise ImportError(
            "mmfusion needs mmcv, which is not installed. Run `pip install 'mmfusion[lite]'` (mmcv-lite, no compiler), "
            "or install full mmcv: `pip install -U openmim && mim install 'mmcv>=2.1,<2.2'`."
        )


def check_transformers() -> None:
    """Raise ``ImportError`` for a version of transformers that breaks mmpretrain 1.2.

    transformers 4.52 moved classes that ``mmpretrain.models`` imports; depending on the version this ends in "cannot
    import name 'GenerationMixin'" or in "NoneType takes no arguments", which stops ``mmseg.models`` and
    ``mmdet.models`` too. 4.51 and earlier work, as does mmpretrain without transformers.
    """
    from mmengine.utils import digit_version

    found, mmpretrain = _installed('transformers'), _installed('mmpretrain')
    if found is None or mmpretrain is None or digit_version(mmpretrain) >= digit_version('1.3'):
        return
    if digit_version(found) >= digit_version('4.52'):
        raise ImportError(
            f'transformers {found} is installed, with which mmpretrain {mmpretrain} cannot be imported, nor what builds '
            "on it. Run `pip install 'transformers>=4.45,<4.50'`, or uninstall transformers if you do not use it."
        )


def check_pkg_resources() -> None:
    """Warn if mmengine will not find ``pkg_resources``, which setuptools 81 removed.

    mmengine 0.10 imports it when a config inherits from an installed library (``_base_ = ['mmseg::...']``), and only
    then: this is a warning and not an error because everything else works.
    """
    if _installed('mmengine') is not None and find_spec('pkg_resources') is None:
        warnings.warn(
            f'pkg_resources is not available (setuptools {_installed("setuptools")}): configs that inherit from an '
            "installed library (`_base_ = ['mmseg::...']`) will fail with \"No module named 'pkg_resources'\". "
            "Run `pip install 'setuptools<81'`.",
            stacklevel=3,
        )
