"""What the command-line tools share."""

import argparse
import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import print_log

_STOCK_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


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


def add_inference_arguments(parser, task=False):
    """The arguments of :class:`~mmfusion.apis.FusionInferencer`, for tools that fuse; see :func:`inference_options`.

    Args:
        parser (argparse.ArgumentParser): Gets ``config``, ``checkpoint`` and options.
        task (bool): Whether findings of a cascade can be drawn.
    """
    parser.add_argument('config', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument('checkpoint', help="checkpoint file, or the word 'random' for an untrained model")
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument(
        '--tile',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='fuse window by window: for images too large for the memory',
    )
    parser.add_argument(
        '--depth16', choices=('full', 'stretch'), help='how more than 8 bits become 8; stretch is for raw thermal data'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config')
    if task:
        parser.add_argument(
            '--task', choices=('seg', 'det'), help="draw what the cascade's segmenter or detector finds"
        )
        parser.add_argument(
            '--score-thr', type=float, default=0.3, help='least score of a drawn box (default: %(default)s)'
        )


def inference_options(args):
    """Keyword arguments of :class:`~mmfusion.apis.FusionInferencer` from those of :func:`add_inference_arguments`."""
    names = dict(config='model', checkpoint='weights')
    keys = ('config', 'checkpoint', 'device', 'tile', 'depth16', 'cfg_options', 'task', 'score_thr')
    return {names.get(key, key): getattr(args, key) for key in keys if key in args}


def report(run, *args):
    """Run a tool: print the sentence that it returns, or its error.

    Args:
        run (Callable): The tool.
        *args: What it takes.

    Returns:
        int: The exit code: 1 after an error that a user can mend.
    """
    try:
        print(run(*args))
    except (ValueError, FileNotFoundError, RuntimeError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 1
    return 0


def load_config(args):
    """The config of :func:`add_config_arguments`, with its overrides, ready for ``Runner.from_cfg``.

    On machines without CUDA a distributed run uses gloo, with a wrapper that asks for no device. Stock models are
    written for several GPUs: in one process, or without CUDA, their ``SyncBN`` is read as ``BN``, which the log says.

    Raises:
        FileNotFoundError: No such config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'{args.config}: no such config')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    # A child config takes an inherited hook away by None; mmengine knows that of its own hooks only.
    cfg.default_hooks = {
        k: v for k, v in (cfg.get('default_hooks') or {}).items() if v is not None or k in _STOCK_HOOKS
    }
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    if args.launcher == 'none' or not torch.cuda.is_available():
        without_sync_bn(cfg.get('model'))
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine's own launcher sets a CUDA device; it leaves a process group alone that already exists.
        torch.distributed.init_process_group('gloo')
        unused = cfg.get('find_unused_parameters', False)
        cfg.setdefault(
            'model_wrapper_cfg',
            dict(
                type='MMDistributedDataParallel',
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=unused,
            ),
        )
    return cfg


def without_sync_bn(node):
    """Write ``BN`` for ``SyncBN`` in a model's config, in place; it raises without a process group on GPUs.

    Args:
        node (dict | Sequence | object): A config, or part of one.

    Returns:
        int: How many were replaced; where there are any, the log says so.
    """
    count = _replace_sync_bn(node)
    if count:
        print_log(f'SyncBN stands {count} times in the model and needs several processes on GPUs: using BN.', 'current')
    return count


def _replace_sync_bn(node):
    if isinstance(node, dict):
        own = node.get('type') == 'SyncBN'
        if own:
            node['type'] = 'BN'
        return own + sum(_replace_sync_bn(value) for value in node.values())
    if isinstance(node, list | tuple):
        return sum(_replace_sync_bn(value) for value in node)
    return 0
