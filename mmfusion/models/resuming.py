"""What a run starts from: its checkpoint when resuming, or other weights."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint
from torch import nn

from mmfusion.utils.checkpoint import CheckpointError, Source, files_of, read_checkpoint
from mmfusion.utils.configs import walk
from mmfusion.utils.log import log_warning

from .checkpoint import authors_state, check_weights, compare, describe, misfit, read_for, save_checkpoint, unwrap


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the latest checkpoint of a run, moved or not; None without.

    ``last_checkpoint`` holds the path that the file was written to. A file of that name beside it comes first.

    Raises:
        CheckpointError: If neither is there.
    """
    path = find_latest_checkpoint(str(work_dir))
    if path is None:
        return None
    beside = Path(work_dir) / re.split(r'[\\/]', path)[-1]
    if beside.is_file():
        return str(beside)
    if not Path(path).is_file():
        raise CheckpointError(
            f'{Path(work_dir) / "last_checkpoint"}: names {path or "nothing"}, and neither that file nor {beside} is there. '
            'Give the checkpoint: --resume FILE.'
        )
    return path


def check_start(model: nn.Module, cfg: Config) -> None:
    """Check what training starts from, before mmengine loads it leniently.

    Resuming needs a checkpoint of this very model. A ``load_from`` may fit in part (fine-tuning): what does and what does
    not is said in the log.

    Raises:
        CheckpointError: If nothing of ``load_from`` fits, or the checkpoint to resume from is of another model.
    """
    path = cfg.get('load_from')
    if cfg.get('resume'):
        path = path or latest_checkpoint(cfg.work_dir)
        if path:
            _, meta = check_weights(model, path, training=True)
            _check_resumed(path, meta, cfg)
        return
    if not path:
        return
    state, meta = read_for(model, path)
    fit = compare(model, state, training=True)
    if not fit.fitting:
        text = misfit(model, state, meta, path, fit)
        raise CheckpointError(f'load_from={str(path)!r}: nothing in it fits this model. {text}')
    if not fit.exact:
        log_warning(
            f"load_from={str(path)!r}: {len(fit.fitting)} of the model's {len(unwrap(model).state_dict())} tensors are "
            f'loaded; the others keep their initial values. {describe(model, state, fit)}.'
        )
    else:
        print_log(f'load_from={str(path)!r}: all {len(fit.fitting)} tensors of the model are loaded.', 'current')


def _check_resumed(path: Source, meta: Mapping, cfg: Config) -> None:
    """Refuse to resume with another optimizer; say where nothing is left."""
    before = _optimizers(Config.fromstring(meta.get('cfg') or '', '.py').get('optim_wrapper'))
    now = _optimizers(cfg.get('optim_wrapper'))
    if before and before != now:
        raise CheckpointError(
            f'{path}: was trained by {", ".join(before)}, and optim_wrapper now has {", ".join(now)}, which cannot go on. '
            'Resume with that optimizer, or start from the weights alone: load_from in place of resume (--resume).'
        )
    for done, most in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
        end = (cfg.get('train_cfg') or {}).get(most)
        if end and meta.get(done, 0) >= end:
            log_warning(
                f'{path}: has {meta[done]} {done}s already, and train_cfg.{most} is {end}: nothing is left to train.'
            )


def _optimizers(wrapper: Any) -> list[str]:
    """Classes of the optimizers in a wrapper's config, or of several."""
    found = [
        part for path, part in walk(wrapper) if path.rpartition('.')[2] == 'optimizer' and isinstance(part, Mapping)
    ]
    return [str(optimizer.get('type')).rpartition('.')[2] for optimizer in found]


def for_runner(model: nn.Module, source: Source, work_dir: str | Path) -> str:
    """Give a file that mmengine's Runner can load into a model.

    Authors' files of the model's network are written, converted, into ``work_dir``; any other ``source`` is given as it is.

    Raises:
        CheckpointError: If ``source`` cannot be read.
    """
    if isinstance(source, str | Path) and re.match(r'(?!file:|https?:)[\w-]+://', str(source)):
        return str(source)
    state, _ = read_checkpoint(source)
    converted = authors_state(unwrap(model), state)
    if converted is None:
        return str(source)
    files = [Path(file) for file in files_of(source)]
    target = Path(work_dir) / f'{files[0].stem}-converted.pth'
    if is_main_process():
        save_checkpoint(target, converted, dict(converted_from=[file.name for file in files]))
    barrier()
    return str(target)
