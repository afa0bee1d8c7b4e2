"""Test a checkpoint: metrics of the fused images, panels and, if asked, the images themselves."""

import argparse

from mmengine.runner import Runner

import mmfusion  # noqa: F401
from mmfusion.utils.cli import add_config_arguments, load_config


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
