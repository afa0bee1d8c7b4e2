"""mmfusion: infrared-visible image fusion for the mmengine ecosystem.

Importing the package makes the stack usable and mmfusion known to it: the two compatibility points
(:mod:`mmfusion.compat`) are applied where they are needed, the child registries exist, and
``_base_ = ['mmfusion::occo/occo_fmb.py']`` resolves from any config. Models, datasets and hooks are imported when
a registry is first asked for one.
"""

import sys
from pathlib import Path


def _is_command() -> bool:
    """Tell whether this process is the command ``mmfusion``."""
    name = sys.argv[0] if getattr(sys, 'argv', None) else ''
    return Path(name).stem == 'mmfusion' or (name == '-m' and 'mmfusion' in sys.orig_argv)


def _end_in_a_word(kind: type[BaseException], error: BaseException, traceback: object) -> None:
    """Print no traceback at Ctrl-C while libraries are still imported.

    Verbs take care of it later.
    """
    if issubclass(kind, KeyboardInterrupt):
        print('interrupted', file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


if _is_command():
    sys.excepthook = _end_in_a_word

from . import compat  # noqa: E402
from .version import __version__  # noqa: E402

compat.setup()

from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402

from . import registry  # noqa: E402

# mmengine resolves `_base_ = 'mmfusion::...'` and `get_config` through this table of scope to package name. It takes a
# distribution for `<its location>/mmfusion`, which is wrong for an editable installation (that is in site-packages).
# For a name that is no distribution it takes the folder of that module's file, which is right for every installation.
MODULE2PACKAGE.setdefault('mmfusion', 'mmfusion.version')
compat.link_configs(Path(__file__).parent)

__all__ = ['__version__', 'compat', 'registry']
