"""One sentence, with the key, for an error in setting up."""

import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.error import URLError

from mmengine.config import Config

from mmfusion.registry import METRICS
from mmfusion.utils.configs import walk
from mmfusion.utils.log import log_warning

_RUNNER = ('mmengine', 'runner', 'runner.py')
_DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_LOOPS = ('mmengine', 'runner', 'loops.py')
# What the Runner builds from keys of other names than its methods.
_KEYS = {
    'train_loop': 'train_cfg',
    'val_loop': 'val_cfg',
    'test_loop': 'test_cfg',
    'hooks': 'custom_hooks',
    'logger': 'log_level',
}


def setup_message(error: BaseException, chain: list[BaseException]) -> str | None:
    """Say which part of a config failed in setting up a run.

    Args:
        error: What was raised.
        chain: It, and the errors in whose handling it was raised.

    Returns:
        One sentence, or None for an error that was raised once the loop was running, or outside of a Runner.
    """
    frames = [frame for e in chain for frame, _ in traceback.walk_tb(e.__traceback__)]
    if not any(_is_in(frame, _RUNNER) for frame in frames):
        return None
    if any(_is_in(frame, _LOOPS) and frame.f_code.co_name.startswith('run') for frame in frames):
        return None
    cfg = next((c for frame in frames for c in _config_of(frame)), Config())
    if any(isinstance(e, URLError | ConnectionError | TimeoutError) for e in chain):
        return _offline(error, frames, cfg)
    root = list(traceback.walk_tb(chain[-1].__traceback__))
    key, value = _culprit([frame for frame, _ in root], cfg)
    frame, line = root[-1]
    place = f'{Path(*Path(frame.f_code.co_filename).parts[-2:])}, line {line}'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    reason = _short(' '.join(text.split()).partition(' Please check whether')[0], 400) or 'no reason given'
    if reason == 'None is not a callable object':  # mmengine looks at an optimizer's signature before it is known
        reason = 'no class of its type is registered'
    return (
        f'{key}={_short(repr(value), 200)} cannot be used: {type(error).__name__}: {reason.rstrip(".")} ({place}). '
        'Correct it; see docs/configs.md.'
    )


def _is_in(frame: FrameType, file: tuple[str, ...]) -> bool:
    return Path(frame.f_code.co_filename).parts[-len(file) :] == file


def _config_of(frame: FrameType) -> Iterator[Config]:
    """The run's config, in a frame of the Runner."""
    if _is_in(frame, _RUNNER):
        for value in (getattr(frame.f_locals.get('self'), 'cfg', None), frame.f_locals.get('cfg')):
            if isinstance(value, Config) and 'model' in value:
                yield value


def _culprit(frames: list[FrameType], cfg: Config) -> tuple[str, Any]:
    """The key and value of the innermost part being built."""
    key, value = str(cfg.filename or 'the config'), '…'
    for frame in frames:
        name = frame.f_code.co_name
        if _is_in(frame, _RUNNER):
            named = name.removeprefix('build_').removeprefix('set_').removeprefix('register_')
            named = _KEYS.get(named, named)
            if named in cfg:
                key, value = named, cfg[named]
            elif named == 'dataloader':  # the one of the loop that is being built
                built = frame.f_locals.get('dataloader')
                named = next((k for k in _DATALOADERS if cfg.get(k) is not None and cfg[k] == built), None)
                key, value = (named, {k: v for k, v in built.items() if k != 'dataset'}) if named else (key, value)
        if name == 'build_from_cfg' and isinstance(frame.f_locals.get('cfg'), Mapping):
            part = frame.f_locals['cfg']
            key = next((path for path, node in walk(cfg.to_dict()) if _holds(part, node)), key)
            value = {k: v for k, v in part.items() if isinstance(v, str | int | float | list | tuple | None)}
    return key, value


def _holds(part: Mapping, node: Any) -> bool:
    """Tell whether ``part`` holds all of a typed dict."""
    typed = isinstance(node, Mapping) and node.get('type') is not None
    return typed and all(k in part and v == part[k] for k, v in node.items())


def _offline(error: BaseException, frames: list[FrameType], cfg: Config) -> str:
    """What to do about a file that cannot be fetched."""
    named = [frame.f_locals.get(k) for frame in frames for k in ('filename', 'url')]
    urls = [str(v) for v in named if isinstance(v, str) and '://' in v]
    asked, url = (urls[0], urls[-1]) if urls else ('a file', 'its address')
    import torch

    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    keys = [path for path, value in walk(cfg.to_dict()) if value == asked]
    # A Pretrained init_cfg goes as a whole.
    cures = [f'{k.removesuffix(".checkpoint")}=None' for k in keys] or [
        'pretrained=None, or init_cfg=None, of that part'
    ]
    source = f'{asked} ({url})' if asked != url else url
    name = url.split('?')[0].rpartition('/')[2]
    return (
        f'{source}: cannot be fetched ({error}). Put the file, fetched elsewhere, into {folder} as {name}, or start '
        f'without these weights: --cfg-options {" ".join(cures)}'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f'{text[:most]}…'


def check_numbers(cfg: Config) -> None:
    """Refuse numbers in a config that end a run late or never.

    Raises:
        ValueError: If one is of another kind or out of its range; with its key.
    """
    for name in _DATALOADERS:
        loader = cfg.get(name)
        if not isinstance(loader, dict | list | None):
            raise ValueError(f'{name} is {loader!r}; expected a dict with a dataset, or None. See docs/configs.md.')
        for key, least in (('batch_size', 1), ('num_workers', 0)):
            if isinstance(loader, dict):
                _check_count(f'{name}.{key}', loader.get(key, least), least)
    loop = cfg.get('train_cfg')
    if isinstance(loop, dict):
        for key in ('max_epochs', 'max_iters', 'val_interval'):
            if loop.get(key) is not None:
                _check_count(f'train_cfg.{key}', loop[key], 1)
    hooks = cfg.get('default_hooks')
    hooks = [(f'default_hooks.{k}', v) for k, v in hooks.items()] if isinstance(hooks, dict) else []
    hooks += [(f'custom_hooks.{k}', v) for k, v in enumerate(cfg.get('custom_hooks') or ())]
    for key, hook in hooks:
        value = hook.get('interval') if isinstance(hook, dict) else None
        if value is not None and value != -1:
            _check_count(f'{key}.interval', value, 1, ', or -1 for never')
    level = cfg.get('log_level', 'INFO')
    if not isinstance(logging.getLevelName(level), int if isinstance(level, str) else str):
        raise ValueError(f'log_level={level!r} cannot be used; expected DEBUG, INFO, WARNING or ERROR.')
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None:
        _check_count('randomness.seed', seed, 0, ', or None')


def warn_of_counts(cfg: Config) -> None:
    """Tell what counts epochs in a training by iterations.

    All of it is one epoch: mmengine would never step the schedule, and save at the end alone.
    """
    loop = cfg.get('train_cfg') or {}
    if loop.get('by_epoch', True) and loop.get('type') != 'IterBasedTrainLoop':
        return
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    found = ['default_hooks.checkpoint'] if checkpoint.get('by_epoch', True) and checkpoint else []
    schedules = cfg.get('param_scheduler') or []
    schedules = schedules if isinstance(schedules, list | tuple) else [schedules]
    found += [
        f'param_scheduler.{k}' for k, s in enumerate(schedules) if isinstance(s, dict) and s.get('by_epoch', True)
    ]
    if found:
        log_warning(
            f'train_cfg counts iterations, and {", ".join(found)} epochs: a training by iterations is one epoch, so that '
            'nothing is saved before its end and rates do not change. Set by_epoch=False there.'
        )


def check_best(cfg: Config) -> None:
    """Refuse a ``save_best`` that the validation does not give.

    mmengine looks for it after the first validation. Where other metrics stand beside these, only that knows their names.

    Raises:
        ValueError: If there is no such metric; those that there are are listed.
    """
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    evaluators = cfg.get('val_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    if not best or not evaluators:
        return
    given = []
    for evaluator in evaluators:
        if not isinstance(evaluator, dict) or str(evaluator.get('type')) not in (
            'mmfusion.FusionMetric',
            'FusionMetric',
        ):
            return
        try:
            metric = METRICS.build(dict(evaluator, type='mmfusion.FusionMetric'))
        except (ValueError, TypeError):
            return  # the Runner builds it, too, and its error is told with the key
        given += [f'{metric.prefix}/{spec.name}' for spec in metric.specs]
    for name in best if isinstance(best, list | tuple) else [best]:
        # Several datasets have means of their own between the prefix and the metric.
        known = [full for full in given if name == full or re.fullmatch(f'{full.replace("/", "/.+/")}', str(name))]
        if name != 'auto' and not known:
            raise ValueError(
                f'default_hooks.checkpoint.save_best={name!r} is not among what the validation gives: {", ".join(given)}.'
            )


def check_phases(cfg: Config) -> None:
    """Refuse a config with parts of a phase's dataloader, loop and evaluator.

    Raises:
        ValueError: If one of the three is None, and another is not; if an evaluator has the option of another class.
    """
    for key in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(key)
        # Of a dict with `metrics` mmengine builds an Evaluator, and says that the metric's class is none.
        if isinstance(evaluator, dict) and 'metrics' in evaluator and 'metric' in evaluator:
            raise ValueError(
                f'{key}.metrics is {evaluator["metrics"]!r}, beside {key}.metric; expected one of them: '
                f'{evaluator.get("type")} takes {key}.metric.'
            )
    for phase, others in (('train', 'optim_wrapper'), ('val', 'val_evaluator'), ('test', 'test_evaluator')):
        keys = (f'{phase}_dataloader', f'{phase}_cfg', others)
        without = [key for key in keys if not cfg.get(key) and cfg.get(key) != {}]
        if without and len(without) < 3 and phase != 'train':
            given = [key for key in keys if key not in without]
            raise ValueError(
                f'{", ".join(without)} of the config is None, and {", ".join(given)} not; expected all of '
                f'{", ".join(keys)}, or none: --cfg-options {" ".join(f"{key}=None" for key in keys)}.'
            )


def _check_count(key: str, value: Any, least: int, more: str = '') -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f'{key} is {value!r}; expected a whole number of at least {least}{more}.')
