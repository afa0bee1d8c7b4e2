"""A hook that leaves the metrics of a test in a file."""

import json
import math

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmfusion.registry import HOOKS
from mmfusion.utils import write_bytes


@HOOKS.register_module()
class TestResultHook(Hook):
    """Write a test's metrics as JSON; test after training on request.

    Starting a process costs seconds, which for a short training is much of the whole.

    Args:
        out_file (str): The file; it is complete or not there.
        after_train (bool): Whether to test the trained model when training ends. Hooks that exchange weights for a test
            (EMA) take part.
    """

    __test__ = False  # for pytest: no class of tests
    priority = 'LOWEST'

    def __init__(self, out_file, after_train=True):
        self.out_file = out_file
        self.test_after_train = after_train

    def after_train(self, runner):
        """Test."""
        if self.test_after_train:
            runner.test_loop.run()

    @master_only
    def after_test_epoch(self, runner, metrics=None):
        """Write."""
        values = {name: None if math.isnan(value) else float(value) for name, value in (metrics or {}).items()}
        write_bytes(self.out_file, (json.dumps(values, indent=1, ensure_ascii=False) + '\n').encode())
