"""Train a fusion network, or a cascade, from a config."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from .arguments import add_config_arguments
from .errors import report_own, verb
from .running import leave_processes, load_config, only_run
from .setup_errors import check_best, warn_of_counts

if TYPE_CHECKING:
    from mmengine.runner import Runner


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--resume', nargs='?', const='auto', help='go on from the latest checkpoint of the work dir, or from this one'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the global batch size'
    )
    return parser


def train(args: argparse.Namespace) -> None:
    """Train.

    Raises:
        ValueError: If the config has nothing to train with, or not all.
    """
    cfg = load_config(args)

    from mmengine.runner import Runner

    from mmfusion.engine.optim import use_amp
    from mmfusion.models.resuming import check_start, for_runner

    missing = [key for key in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not cfg.get(key)]
    if len(missing) > 1:
        names = f'{", ".join(missing[:-1])} and {missing[-1]}'
        raise ValueError(f'{cfg.filename}: has no {names}, and is for testing.{_others(cfg)}')
    if missing:
        raise ValueError(
            f'{cfg.filename}: {missing[0]} is missing; training needs train_dataloader, train_cfg and optim_wrapper. '
            'See configs/_base_/schedules.'
        )
    check_best(cfg)
    warn_of_counts(cfg)
    if args.amp:
        use_amp(cfg.optim_wrapper)
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', dict(base_batch_size=cfg.train_dataloader.batch_size))
        cfg.auto_scale_lr.enable = True
    with only_run(cfg):
        if args.resume:
            _resume(cfg, args.resume)
        runner = Runner.from_cfg(cfg)
        check_start(runner.model, cfg)
        if cfg.get('load_from'):
            runner._load_from = for_runner(runner.model, cfg.load_from, cfg.work_dir)
        _check_batches(runner)
        runner.train()
        leave_processes()


def _resume(cfg: Config, source: str) -> None:
    """Go on from a file, or the last checkpoint of a folder."""
    from mmfusion.models.resuming import latest_checkpoint

    cfg.resume = True
    folder = cfg.work_dir if source == 'auto' else source
    cfg.load_from = latest_checkpoint(folder) if Path(folder).is_dir() else source
    if cfg.load_from is None and source != 'auto':
        raise FileNotFoundError(f'--resume {folder}: a folder without last_checkpoint; expected a work dir or a file.')


def _check_batches(runner: 'Runner') -> None:
    """Refuse a training set that does not fill one batch."""
    loader = runner.train_loop.dataloader
    if not len(loader):
        raise ValueError(
            f'train_dataloader: batch_size={loader.batch_size} with drop_last=True, and {len(loader.dataset)} samples: not '
            'one batch. Use a smaller batch_size (--cfg-options train_dataloader.batch_size=…), or drop_last=False.'
        )


def _others(cfg: Config) -> str:
    """Configs beside this one, which may train."""
    file = Path(cfg.filename)
    names = [f.stem for f in sorted(file.parent.glob('*.py')) if f.stem != file.stem]
    return f' Beside it are {", ".join(names)}.' if names else ''


main = verb(train, make_parser, report_own)
