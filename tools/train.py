"""Train a fusion network, or a cascade, from a config."""

import argparse

from mmengine.runner import Runner

import mmfusion  # noqa: F401
from mmfusion.engine.optim import use_amp
from mmfusion.models.checkpoint import check_start, latest_checkpoint
from mmfusion.utils.cli import add_config_arguments, load_config


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--resume', nargs='?', const='auto', help='go on from the latest checkpoint of the work dir, or from this one'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the global batch size'
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    cfg = load_config(args)
    if args.amp:
        use_amp(cfg.optim_wrapper)
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', dict(base_batch_size=cfg.train_dataloader.batch_size))
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        cfg.load_from = latest_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume
    runner = Runner.from_cfg(cfg)
    check_start(runner.model, cfg)
    runner.train()


if __name__ == '__main__':
    main()
