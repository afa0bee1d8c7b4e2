"""Fuse a folder of visible and a folder of infrared images: ``mmfusion fuse``."""

import sys

from mmfusion.cli.fuse import main

if __name__ == '__main__':
    sys.exit(main())
