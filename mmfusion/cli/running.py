"""Configs ready for a Runner, and processes of job launchers."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmfusion.registry import MODELS
from mmfusion.utils.configs import find_config, override, read_config

from .setup_errors import check_numbers, check_phases

_STOCK_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
# What each launcher tells its processes, and the command that starts them.
_LAUNCHERS = {
    'pytorch': ('RANK', 'torchrun'),
    'slurm': ('SLURM_PROCID', 'srun'),
    'mpi': ('OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun'),
}


@contextmanager
def log_level(level: int) -> Iterator[None]:
    """Let only messages of this level and above into mmengine's log."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def load_config(args: argparse.Namespace) -> Config:
    """Load the config of :func:`add_config_arguments`, with its overrides, ready for ``Runner.from_cfg``.

    On machines without CUDA a distributed run uses gloo, with a wrapper that asks for no device. Stock models are
    written for several GPUs: in one process, or without CUDA, their ``SyncBN`` is read as ``BN``, and without CUDA their
    ``AmpOptimWrapper`` as ``OptimWrapper``, which the log says.

    Raises:
        FileNotFoundError: If there is no such config; near names are proposed.
        ValueError: If it cannot be read, or its work dir cannot be made.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    _check_launcher(args.launcher)
    file = find_config(args.config)
    cfg = read_config(file)
    override(cfg, args.cfg_options)
    if not isinstance(cfg.get('model'), dict):
        raise ValueError(f'{file}: model is {cfg.get("model")!r}; expected a dict with a type. See docs/configs.md.')
    check_numbers(cfg)
    check_phases(cfg)
    # A child config takes an inherited hook away by None; mmengine knows that of its own hooks only.
    cfg.default_hooks = {
        k: v for k, v in (cfg.get('default_hooks') or {}).items() if v is not None or k in _STOCK_HOOKS
    }
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / file.stem)
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ValueError(
            f'--work-dir {cfg.work_dir}: cannot be made ({e.strerror}); expected a folder that can be written.'
        ) from e
    import torch

    torch.set_flush_denormal(True)  # numbers below 1e-38, which trained weights may give, slow a CPU down 25 times
    if args.launcher == 'none' or not torch.cuda.is_available():
        without_sync_bn(cfg.get('model'))
    from mmfusion.engine.optim import without_amp

    without_amp(cfg.get('optim_wrapper'))
    if args.launcher == 'none':
        return cfg
    wrapper = getattr(MODELS.get(cfg.model.get('type', '')), 'model_wrapper', 'mmfusion.DataParallel')
    options = dict(broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False))
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine's own launcher sets a CUDA device; it leaves a process group alone that already exists.
        init_processes(args.launcher, args.local_rank)
        options['device_ids'] = None
    cfg.setdefault('model_wrapper_cfg', dict(type=wrapper, **options))
    return cfg


def init_processes(launcher: str, local_rank: int = 0) -> None:
    """Join a job launcher's processes (torchrun, Slurm, MPI), by gloo without CUDA."""
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    import torch
    from mmengine.dist import init_dist

    if torch.distributed.is_initialized():
        return
    _check_launcher(launcher)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
    else:
        init_dist(launcher)


def _check_launcher(launcher: str) -> None:
    name, command = _LAUNCHERS.get(launcher, (None, None))
    if name and name not in os.environ:
        raise ValueError(f'--launcher {launcher}: the variable {name} is not set; start the command by {command}.')


def leave_processes() -> None:
    """Wait for the other processes, and leave the group together."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def without_sync_bn(node: object) -> int:
    """Write ``BN`` for ``SyncBN``, which needs GPUs, in a model's config.

    Args:
        node: A config, or part of one.

    Returns:
        How many were replaced; where there are any, the log says so.
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
