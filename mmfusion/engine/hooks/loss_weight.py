"""Weights of losses that change while training."""

import math
from collections.abc import Mapping, MutableMapping

from mmengine.hooks import Hook

from mmfusion.models.checkpoint import unwrap
from mmfusion.registry import HOOKS

from .progress import check_count, check_reach

CURVES = {'linear': lambda t: t, 'cosine': lambda t: (1 - math.cos(math.pi * t)) / 2}


@HOOKS.register_module()
class LossWeightHook(Hook):
    """Move weights of losses by a schedule.

    At epoch (or iteration) e a weight is that of the phase with begin ≤ e < end: a constant ``value``, or from ``start``
    to ``stop`` along a curve: start + (stop − start)·c(t), t = (e − begin)/(end − begin), with c(t) = t (``'linear'``)
    or (1 − cos πt)/2 (``'cosine'``). Before the first phase the weight is that of the config; after the last, and between
    phases, it keeps the value that the phase before ended with. It is a function of the epoch alone, so that a resumed run
    goes on where it stopped. The values are in the log.

    Args:
        weights (dict[str, Sequence[dict]]): Place of a weight in the model, as ``'loss_weights.task'`` of a cascade or
            ``'losses.contrastive.loss_weight'`` of a fuser → its phases.
        by_epoch (bool): Whether phases count epochs.

    Raises:
        ValueError: If a phase is not as described, phases overlap, or count epochs in a loop by iterations.
        KeyError: If the model has no such weight.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, weights, by_epoch=True):
        self.phases = {place: _checked(phases, place) for place, phases in weights.items()}
        self.by_epoch = by_epoch

    def before_train(self, runner):
        """Find the weights in the model."""
        for place in self.phases:
            _find(runner.model, place)
        lasts = [k for phases in self.phases.values() for phase in phases for k in (phase['begin'], phase['end'] - 1)]
        check_reach(runner, self, self.by_epoch, max((k for k in lasts if k < math.inf), default=0))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Set the weights of this epoch or iteration."""
        progress = runner.epoch if self.by_epoch else runner.iter
        for place, phases in self.phases.items():
            value = weight_at(phases, progress)
            if value is not None:
                owner, key = _find(runner.model, place)
                if isinstance(owner, MutableMapping):
                    owner[key] = value
                else:
                    setattr(owner, key, value)
                runner.message_hub.update_scalar(f'train/weight/{place}', value)


def weight_at(phases, progress):
    """Compute the weight at an epoch or iteration; None before all phases."""
    value = None
    for phase in phases:
        if progress < phase['begin']:
            break
        t = min(1.0, (progress - phase['begin']) / (phase['end'] - phase['begin']))
        value = phase['start'] + (phase['stop'] - phase['start']) * CURVES[phase['curve']](t)
    return value


def _checked(phases, place):
    """Phases in their full form and in order."""
    full, last = [], 0
    if not isinstance(phases, list | tuple) or not all(isinstance(phase, Mapping) for phase in phases):
        raise ValueError(f'{place}: found {phases!r}; expected a list of phases, such as [dict(value=0.5)].')
    for phase in phases:
        phase = dict(phase)
        if 'value' in phase:
            phase['start'] = phase['stop'] = phase.pop('value')
        phase = dict(dict(begin=last, end=math.inf, curve='linear'), **phase)
        bad = set(phase) ^ {'begin', 'end', 'start', 'stop', 'curve'}
        for key in ('begin', 'end'):
            check_count(f'{place}: {key}', phase[key])
        moves = phase.get('start') != phase.get('stop')
        if bad or phase['curve'] not in CURVES or not last <= phase['begin'] < phase['end']:
            raise ValueError(
                f'{place}: phase {phase} is wrong. Expected begin < end in rising order, and value, or start, stop and '
                f'curve ({", ".join(CURVES)}).'
            )
        if moves and math.isinf(phase['end']):
            raise ValueError(f'{place}: phase {phase} moves from {phase["start"]} to {phase["stop"]} and needs an end.')
        full.append(phase)
        last = phase['end']
    return full


def _find(model, place):
    """The owner of a weight, and the weight's name in it."""
    owner = unwrap(model)
    *path, last = place.split('.')
    for step in path:
        owner = _step(owner, step, place)
    if not isinstance(_step(owner, last, place), int | float):
        raise KeyError(f'{place} is {type(_step(owner, last, place)).__name__} and no number: no weight to schedule.')
    return owner, last


def _step(owner, step, place):
    if isinstance(owner, Mapping) and step in owner:
        return owner[step]
    if step.isdigit() and hasattr(owner, '__getitem__') and int(step) < len(owner):
        return owner[int(step)]
    if hasattr(owner, step):
        return getattr(owner, step)
    raise KeyError(f'{place}: the model has no such weight; {type(owner).__name__} has no {step!r}.')
