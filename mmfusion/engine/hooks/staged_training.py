"""Training in stages: which parts of a model learn when."""

from collections.abc import Mapping
from itertools import pairwise

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmfusion.models.freezing import freeze, named_parts, parameters_of
from mmfusion.registry import HOOKS

from .progress import check_count, check_reach

_LISTS, _KEYS = ('train', 'losses', 'restart'), ('train', 'end', 'phase', 'losses', 'restart')


@HOOKS.register_module()
class StagedTrainingHook(Hook):
    """Train a model stage by stage, some parts in each.

    What is not named in a stage is frozen in it: no gradient, no optimizer step, eval mode (batch norm keeps its
    statistics). Optimizer states wait. What was frozen before training (``frozen`` of a cascade) stays so in every stage.
    A resumed run is in the stage of its epoch.

    Args:
        stages (Sequence[dict]): Each with ``train``, names of parts (``'fuser'``, ``'segmentor.decode_head'``…), and
            ``end``, the epoch or iteration at which it is over; the last one needs none. ``phase``: the method of the
            fusion network that is called in the place of ``forward`` in training. ``losses``: names of the losses in use,
            all by default. ``restart``: parts that get new random weights, and an empty state of their optimizer, when the
            stage begins.
        by_epoch (bool): Whether ``end`` counts epochs.

    Raises:
        ValueError: If ends do not rise, a stage trains nothing, has another key, or there is no such part, phase or
            loss; if it counts epochs in a loop by iterations; in several processes without ``find_unused_parameters``.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, stages, by_epoch=True):
        for k, stage in enumerate(stages):
            _check_keys(k, stage)
        ends = [stage.get('end') for stage in stages]
        if not stages or None in ends[:-1] or any(a >= b for a, b in pairwise(ends) if b is not None):
            raise ValueError(f'stages need ends that rise, in all but the last; got {ends}')
        empty = [k for k, stage in enumerate(stages) if not stage.get('train')]
        if empty:
            raise ValueError(f"stage {empty[0]} trains nothing: its 'train' must name at least one part")
        self.stages, self.by_epoch = [dict(stage) for stage in stages], by_epoch
        self._current, self._always_frozen, self._still = None, set(), []

    def before_train(self, runner):
        """Look at the stages before the first one starts."""
        model = runner.model
        unused = getattr(model, 'find_unused_parameters', True)
        if is_model_wrapper(model) and not unused:
            raise ValueError(
                'StagedTrainingHook in several processes: set find_unused_parameters=True in the config; otherwise the '
                'processes wait for gradients of parts that are frozen.'
            )
        check_reach(runner, self, self.by_epoch, max((stage['end'] for stage in self.stages[:-1]), default=0))
        for stage in self.stages:
            named_parts(model, [*stage['train'], *stage.get('restart', ())])
            for fuser in _fusers(model):
                _check_stage(stage, fuser)
        self._always_frozen = {id(p) for p in model.parameters() if not p.requires_grad}
        self._current = None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Enter the stage of the epoch or iteration.

        Loops turn on training mode after ``before_train_epoch``.
        """
        progress = runner.epoch if self.by_epoch else runner.iter
        stage = next((k for k, s in enumerate(self.stages[:-1]) if progress < s['end']), len(self.stages) - 1)
        if stage != self._current:
            begin = self.stages[stage - 1]['end'] if stage else 0
            # Not where a run is resumed within the stage.
            if progress == begin and (not self.by_epoch or batch_idx == 0):
                for part in named_parts(runner.model, self.stages[stage].get('restart', ())).values():
                    _restart(part, runner.optim_wrapper)
            self._enter(runner, stage)
        for module in self._still:
            if module.training:
                module.eval()

    def _enter(self, runner, stage):
        model, names = runner.model, self.stages[stage]['train']
        model.train()
        trained = {
            id(p) for part in named_parts(model, names).values() for p in parameters_of(part)
        } - self._always_frozen
        for parameter in model.parameters():
            if id(parameter) in trained:
                parameter.requires_grad_(True)
            else:
                freeze(parameter)
        if self._current is not None:
            _forget_losses(runner.message_hub.log_scalars)
        for fuser in _fusers(model):
            fuser.phase, fuser.active_losses = self.stages[stage].get('phase'), self.stages[stage].get('losses')
        self._still = list(_untrained(model, trained))
        self._current = stage
        runner.logger.info(f'stage {stage + 1} of {len(self.stages)}: training {", ".join(names)}')


def _check_keys(k, stage):
    """Refuse a stage that is not as described."""
    if not isinstance(stage, Mapping):
        raise ValueError(f"stage {k} is {stage!r}; expected a dict, such as dict(train=['network'], end=10)")
    unknown = sorted(set(stage) - set(_KEYS))
    if unknown:
        raise ValueError(f'stage {k} has {", ".join(unknown)}; expected of {", ".join(_KEYS)}')
    for key in _LISTS:
        if isinstance(stage.get(key), str):
            raise ValueError(f'stage {k}: {key} is {stage[key]!r}; expected a list, [{stage[key]!r}]')
    if stage.get('end') is not None:
        check_count(f'stage {k}: end', stage['end'])


def _forget_losses(scalars):
    """Drop losses of the stage before from the log."""
    for name in [n for n in scalars if n.startswith('train/') and 'loss' in n]:
        del scalars[name]


def _restart(part, optim_wrapper):
    """Give a part new random weights, and its optimizer no memory."""
    for module in part.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    for module in part.modules():
        if hasattr(module, 'init_weights'):
            module.init_weights()
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    for parameter in part.parameters():
        getattr(optimizer, 'state', {}).pop(parameter, None)


def _fusers(model):
    """Find the fusers in a model: what has a phase."""
    return [module for module in model.modules() if hasattr(module, 'active_losses')]


def _check_stage(stage, fuser):
    """Refuse a phase or losses that the fuser does not have."""
    phase, unknown = stage.get('phase'), sorted(set(stage.get('losses') or ()) - set(fuser.losses))
    if phase and not callable(getattr(fuser.network, phase, None)):
        raise ValueError(f'stages: phase {phase!r} is no method of {type(fuser.network).__name__}')
    if unknown:
        raise ValueError(f'stages: no losses {", ".join(unknown)}; the fuser has {", ".join(fuser.losses) or "none"}')


def _untrained(module, trained):
    """The largest modules that have parameters, of which none is trained."""
    for child in module.children():
        own = {id(p) for p in child.parameters()}
        if own and not own & trained:
            yield child
        elif own:
            yield from _untrained(child, trained)
