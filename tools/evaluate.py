"""Evaluate folders of fused images: ``mmfusion evaluate``."""

import sys

from mmfusion.cli.evaluate import main

if __name__ == '__main__':
    sys.exit(main())
