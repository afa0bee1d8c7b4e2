"""Compare what a task model reaches on visible, infrared and fused images: ``mmfusion downstream``."""

import sys

from mmfusion.cli.downstream import main

if __name__ == '__main__':
    sys.exit(main())
