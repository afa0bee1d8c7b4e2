"""Turn the authors' weights of a method into a checkpoint: ``mmfusion convert``."""

import sys

from mmfusion.cli.convert import main

if __name__ == '__main__':
    sys.exit(main())
