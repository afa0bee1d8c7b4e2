"""Configs ready for a Runner, and processes of job launchers."""

import argparse
import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmfusion.registry import MODELS
from mmfusion.utils import only_writer
from mmfusion.utils.configs import drop_variables, find_config, override, read_config, walk

from .setup_errors import check_numbers, check_phases

_STOCK_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
# The command of each launcher, and the variables by which it tells a process its rank, their number, and its rank on the
# machine.
_LAUNCHERS = {
    'pytorch': ('torchrun', ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')),
    'slurm': ('srun', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')),
    'mpi': ('mpirun', ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')),
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
    drop_variables(cfg)
    check_numbers(cfg)
    check_phases(cfg)
    # A child config takes an inherited hook away by None; mmengine knows that of its own hooks only.
    cfg.default_hooks = {
        k: v for k, v in (cfg.get('default_hooks') or {}).items() if v is not None or k in _STOCK_HOOKS
    }
    cfg.launcher = args.launcher
    cfg.load_from = cfg.get('load_from') or None  # mmengine takes an empty one for a file
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
    if not torch.cuda.is_available():
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
    if torch.cuda.is_available():
        init_dist(launcher)
        return
    # mmengine's own launchers set a CUDA device; the Runner leaves a process group alone that already exists.
    for name, source in zip(_LAUNCHERS['pytorch'][1], _LAUNCHERS[launcher][1], strict=True):
        os.environ[name] = os.environ[source]
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
        os.environ['MASTER_ADDR'] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[
            0
        ]
    os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo')


def _check_launcher(launcher: str) -> None:
    command, names = _LAUNCHERS.get(launcher, ('', ()))
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher}: the variable {missing[0]} is not set; start the command by {command}.'
        )
    if launcher == 'mpi' and 'MASTER_ADDR' not in os.environ:
        raise ValueError(
            '--launcher mpi: the variable MASTER_ADDR is not set; expected the address of the machine of rank 0, such as '
            '`mpirun -x MASTER_ADDR=127.0.0.1` on one machine.'
        )


def only_run(cfg: Config) -> AbstractContextManager[None]:
    """Hold the work dir for one training.

    The processes of a launcher share it. See :func:`mmfusion.utils.only_writer`.
    """
    rank = _LAUNCHERS[cfg.launcher][1][0] if cfg.launcher in _LAUNCHERS else None  # before the processes have met
    return only_writer(cfg.work_dir) if rank is None or os.environ[rank] == '0' else nullcontext()


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
    found = [part for _, part in walk(node) if isinstance(part, dict) and part.get('type') == 'SyncBN']
    for part in found:
        part['type'] = 'BN'
    if found:
        print_log(
            f'SyncBN stands {len(found)} times in the model and needs several processes on GPUs: using BN.', 'current'
        )
    return len(found)
