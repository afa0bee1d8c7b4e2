"""What the command-line tools share."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction


def add_config_arguments(parser):
    """The arguments by which every tool takes a config: ``config``, ``--work-dir``, ``--cfg-options``, ``--launcher``."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides, such as train_cfg.max_epochs=1 train_dataloader.batch_size=4',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args):
    """The config of :func:`add_config_arguments`, with its overrides, ready for ``Runner.from_cfg``.

    On machines without CUDA a distributed run uses gloo, with a wrapper that asks for no device.

    Raises:
        FileNotFoundError: No such config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'{args.config}: no such config')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine's own launcher sets a CUDA device; it leaves a process group alone that already exists.
        torch.distributed.init_process_group('gloo')
        cfg.setdefault(
            'model_wrapper_cfg', dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
        )
    return cfg
