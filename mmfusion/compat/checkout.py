"""Let mmengine find configs of a checkout that is not installed."""

import contextlib
import os
from pathlib import Path

# As setup.py links them for an editable installation.
_ITEMS = ('configs', 'tools', 'demo', 'model-index.yml')


def link_configs(package: Path) -> None:
    """Link ``.mim`` in a package's folder to the checkout around it.

    mmengine resolves ``_base_ = 'mmfusion::…'`` in ``<package>/.mim``. An installation has that folder; a checkout that
    stands on ``PYTHONPATH`` has not, until this links it, where the file system allows.

    Args:
        package: Folder of the package.
    """
    mim, checkout = package / '.mim', package.parent
    if (mim / 'model-index.yml').exists() or not all((checkout / item).exists() for item in _ITEMS):
        return
    with contextlib.suppress(OSError):  # read-only, or without links: names of configs still work, _base_ does not
        mim.mkdir(exist_ok=True)
        for item in _ITEMS:
            with contextlib.suppress(FileExistsError):  # of another process, at this moment
                (mim / item).symlink_to(os.path.join('..', '..', item), target_is_directory=(checkout / item).is_dir())
