"""The count by which a run goes."""

from mmengine.runner import IterBasedTrainLoop, Runner


def progress(runner: Runner) -> tuple[str, int]:
    """Tell how far a run is: ``('epoch', n)`` or ``('iter', n)``."""
    loop = getattr(runner, '_train_loop', None)  # not built where only a test runs
    return ('iter', runner.iter) if isinstance(loop, IterBasedTrainLoop) else ('epoch', runner.epoch)
