"""Train a fusion network, or a cascade: ``mmfusion train``."""

import sys

from mmfusion.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
