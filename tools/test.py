"""Test a checkpoint: ``mmfusion test``."""

import sys

from mmfusion.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
