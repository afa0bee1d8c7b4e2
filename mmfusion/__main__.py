"""``python -m mmfusion``: the console script."""

import sys

from mmfusion.cli import main

if __name__ == '__main__':
    sys.exit(main())
