"""Test a checkpoint: metrics of the fused images, panels and, if asked, the images themselves."""

import argparse

from mmengine.runner import Runner

from mmfusion.models.checkpoint import check_weights
from mmfusion.models.hub import drop_losses
from mmfusion.utils.cli import add_config_arguments, load_config


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    drop_losses(cfg.model)  # their priors need weights that a test does not
    runner = Runner.from_cfg(cfg)
    # The Runner loads what fits and warns about the rest. It does load it by itself, since hooks (EMA) take part in that.
    check_weights(runner.model, args.checkpoint)
    runner.test()


if __name__ == '__main__':
    main()
