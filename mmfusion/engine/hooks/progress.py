"""The count by which a run goes."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner


def progress(runner: Runner) -> tuple[str, int]:
    """Tell how far a run is: ``('epoch', n)`` or ``('iter', n)``."""
    loop = getattr(runner, '_train_loop', None)  # not built where only a test runs
    return ('iter', runner.iter) if isinstance(loop, IterBasedTrainLoop) else ('epoch', runner.epoch)


def check_count(name: str, value: Any) -> None:
    """Refuse what is no number of epochs or iterations.

    Raises:
        ValueError: If it is none of at least 0.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f'{name} is {value!r}; expected a number of epochs or iterations.')


def check_reach(runner: Runner, hook: Hook, by_epoch: bool, last: float) -> None:
    """Check that training reaches the last count of a hook.

    Raises:
        ValueError: If the hook counts epochs in a loop by iterations, all of which is epoch 0.
    """
    loop, name = getattr(runner, '_train_loop', None), type(hook).__name__
    if not last or loop is None:
        return
    if by_epoch and isinstance(loop, IterBasedTrainLoop):
        raise ValueError(
            f'{name} counts epochs, and train_cfg iterations, so that {last:g} is never reached. Set by_epoch=False in the '
            'hook, and its numbers in iterations.'
        )
    end = runner.max_epochs if by_epoch else runner.max_iters
    if last >= end:
        unit = 'epoch' if by_epoch else 'iteration'
        runner.logger.warning(f'{name} does something at {unit} {last:g}, and training ends before, at {end}.')
