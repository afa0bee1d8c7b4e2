"""Running of cells, each in a process of its own."""

import contextlib
import fcntl
import json
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from mmengine.registry import DefaultScope

from mmfusion.registry import DATASETS
from mmfusion.utils import write_bytes
from mmfusion.utils.configs import find_config, innermost
from mmfusion.utils.text import json_text

from .cell_config import PARTS, fused_folder
from .cells import METRICS_FILE, CellError, named_metrics
from .entrants import Entrant


def fuse_for(cell, base, say=print):
    """Fuse the images of a ``method:`` variant that are not there yet.

    Raises:
        CellError: If the weights are missing, or a pair cannot be fused.
    """
    from mmfusion.apis import FusionInferencer
    from mmfusion.apis.folder import fuse_folder
    from mmfusion.utils.run_record import model_settings

    from .methods import prepare

    config, _, weights = cell.variant.source.partition(':')
    try:
        (entrant,) = prepare([Entrant(cell.variant.name, config, weights or None)])
        for part in PARTS:
            if not base.get(f'{part}_dataloader'):
                continue
            with DefaultScope.overwrite_default_scope('mmfusion'):
                dataset = dict(innermost(base[f'{part}_dataloader']['dataset']), pipeline=[], lazy_init=False)
                dataset = DATASETS.build(dataset)
            infos = [dataset.get_data_info(i) for i in range(len(dataset))]
            pairs = [(Path(info['img_path']).stem, Path(info['img_path']), Path(info['ir_path'])) for info in infos]
            settings = model_settings(find_config(config), entrant.weights)
            folder = fused_folder(cell.folder, part)
            fused, _ = fuse_folder(pairs, folder, settings, lambda: FusionInferencer(config, entrant.weights))
            if fused:
                say(f'{cell.variant.name}: {fused} pairs fused into {folder}')
    except (ValueError, OSError, RuntimeError) as e:
        raise CellError(f'the images cannot be fused: {e}') from e


def run_cell(cell, cfg, tools=None, weights='last', say=print):
    """Train and test a cell from where it was cut off.

    Args:
        cell (Cell): The cell.
        cfg (Config): Of :func:`cell_config`.
        tools (str | Path, optional): Folder of train.py and test.py. Default: ``mmfusion train`` and ``mmfusion test``.
        weights (str): ``'last'`` or ``'best'``: which checkpoint is tested.
        say (Callable): Gets a line about each step.

    Raises:
        CellError: If training or testing failed (with the last lines of the log), gave no metrics, or another process is at
            this cell.
    """
    train, metrics = cell.folder / 'train', cell.folder / METRICS_FILE
    cell.folder.mkdir(parents=True, exist_ok=True)
    with _claimed(cell) as claim:
        if cell.file.is_file():
            return
        metrics.unlink(missing_ok=True)
        config = cell.folder / 'config.py'
        write_bytes(config, cfg.pretty_text.encode())
        checkpoint = last_checkpoint(train)
        say(f'{cell}: training' + (f', resumed from {checkpoint.name}' if checkpoint else ''))
        # Resumed at its end, a training only tests.
        resume = ['--resume', checkpoint] if checkpoint else []
        run_tool(_command('train', tools), [config, *resume], cell.folder / 'train.log', claim)
        checkpoint = last_checkpoint(train)
        if weights == 'best':
            checkpoint = _best_checkpoint(train)
            say(f'{cell}: testing {checkpoint.name}')
            arguments = [config, checkpoint, '--work-dir', cell.folder / 'test']
            run_tool(_command('test', tools), arguments, cell.folder / 'test.log', claim)
        _write_result(cell, checkpoint.name if checkpoint else None, _read_metrics(metrics))


def evaluate_cell(cell, cfg, say=print):
    """Test a cell with its task model's starting weights, in this process.

    Its config is :func:`cell_config`'s, from one :func:`without_training`.

    Raises:
        CellError: If the test failed, gave no metrics, or another process is at this cell.
    """
    import torch
    from mmengine.runner import Runner

    # Weights may give numbers below 1e-38, with which a CPU is some 25 times slower (CGNet's on night images do).
    torch.set_flush_denormal(True)
    metrics = cell.folder / METRICS_FILE
    cell.folder.mkdir(parents=True, exist_ok=True)
    with _claimed(cell):
        if cell.file.is_file():
            return
        metrics.unlink(missing_ok=True)
        write_bytes(cell.folder / 'config.py', cfg.pretty_text.encode())
        say(f'{cell.variant.name}: testing')
        cfg.log_level = 'WARNING'
        cfg.experiment_name = f'{cell.variant.name}_{time.time_ns()}'  # runs of one second would share their log
        try:
            with contextlib.redirect_stdout(None):  # pycocotools prints a page for each metric
                runner = Runner.from_cfg(cfg)
                runner.model.init_weights()
                runner.test()
        except (ValueError, OSError, RuntimeError, KeyError) as e:
            raise CellError(f'the test failed: {e}') from e
        _write_result(cell, None, _read_metrics(metrics))


def run_tool(command, arguments, log, claim):
    """Run a tool with this Python, its output appended to ``log``.

    ``claim`` is the descriptor of the cell's lock, which lives as long as the process: should this one be killed, the cell
    is not begun a second time while the first still trains.

    Raises:
        CellError: If it failed.
    """
    with open(log, 'ab') as file:
        done = subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=[claim],
        )
    if done.returncode:
        raise CellError(f'{" ".join(command[-2:])} ended with code {done.returncode}. The end of {log}:\n{_tail(log)}')


def _command(verb, tools):
    return ['-m', 'mmfusion', verb] if tools is None else [str(Path(tools) / f'{verb}.py')]


def _tail(log, lines=12):
    with open(log, encoding='utf-8', errors='replace') as file:
        return ''.join(f'    {line.rstrip()}\n' for line in deque((x for x in file if x.strip()), lines)).rstrip()


@contextlib.contextmanager
def _claimed(cell):
    """Hold the lock of a cell: several runs may share a folder."""
    with open(cell.folder / 'lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CellError('another process is at this cell. Repeat the command when that one has ended.') from None
        yield file.fileno()


def _write_result(cell, checkpoint, metrics):
    result = dict(variant=cell.variant.name, seed=cell.seed, checkpoint=checkpoint, metrics=metrics)
    write_bytes(cell.file, (json_text(result, indent=1) + '\n').encode())


def _read_metrics(file):
    """The metrics that a test left."""
    if not file.is_file():
        raise CellError(f'{file}: the test left no metrics; see the log beside it')
    metrics = named_metrics(json.loads(file.read_text(encoding='utf-8')))
    if not metrics.keys() & {'mIoU', 'mAP', 'mDice', 'mFscore'}:
        raise CellError(f'{file}: has no metric of the task, but {", ".join(metrics) or "none at all"}')
    return metrics


def last_checkpoint(folder):
    """Find the last complete checkpoint of a work dir, moved or not."""
    note = Path(folder) / 'last_checkpoint'
    if not note.is_file():
        return None
    file = Path(folder) / Path(note.read_text(encoding='utf-8').strip()).name
    return file if file.is_file() else None


def _best_checkpoint(folder):
    found = sorted(folder.glob('best_*.pth'))
    if len(found) != 1:
        raise CellError(f'{folder}: expected one best_*.pth, found {", ".join(f.name for f in found) or "none"}')
    return found[0]
