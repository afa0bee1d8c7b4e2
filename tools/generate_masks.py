"""Make masks of salient objects: ``mmfusion masks``."""

import sys

from mmfusion.cli.masks import main

if __name__ == '__main__':
    sys.exit(main())
