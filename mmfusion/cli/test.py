"""Test a checkpoint: metrics, panels and, if asked, fused images."""

import argparse
from contextlib import nullcontext

from mmengine.config import Config

from mmfusion.utils import only_writer

from .arguments import add_config_arguments, add_weights_arguments, weights_of
from .errors import report_own, verb
from .running import leave_processes, load_config


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config_arguments(parser)
    add_weights_arguments(parser)
    return parser


def test(args: argparse.Namespace) -> None:
    """Test.

    Raises:
        CheckpointError: If the weights are not those of the config's model.
        FileNotFoundError: If none are given, and none are found.
    """
    weights = weights_of(args)
    cfg = load_config(args)

    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    from mmfusion.models.checkpoint import check_weights
    from mmfusion.models.hub import RANDOM, drop_losses, find_weights, name_files
    from mmfusion.models.resuming import for_runner

    weights = find_weights(cfg) if weights is None else name_files(cfg, weights)
    cfg.resume = False
    drop_losses(cfg.model)  # their priors need weights that a test does not
    _drop_incomplete(cfg)
    runner = Runner.from_cfg(cfg)
    if str(weights) != RANDOM:
        # The Runner loads what fits and warns about the rest. It loads by itself, since hooks (EMA) take part in that.
        check_weights(runner.model, weights)
        runner._load_from = for_runner(runner.model, weights, cfg.work_dir)
    # Its folder is named by the second: two tests that began in one would mix their panels and values.
    with only_writer(runner.log_dir) if is_main_process() else nullcontext():
        runner.test()
    leave_processes()


def _drop_incomplete(cfg: Config) -> None:
    """Drop incomplete training or validation, which a Runner would refuse."""
    for part, third in (('train', 'optim_wrapper'), ('val', 'val_evaluator')):
        keys = (f'{part}_dataloader', f'{part}_cfg', third)
        if not all(cfg.get(key) for key in keys):
            cfg.update(dict.fromkeys(keys))


main = verb(test, make_parser, report_own)
