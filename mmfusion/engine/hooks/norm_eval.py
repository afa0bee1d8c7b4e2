"""Batch norms that keep their statistics from a point of training on."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmfusion.registry import HOOKS

from .progress import check_count, check_reach


@HOOKS.register_module()
class NormEvalHook(Hook):
    """Hold the statistics of batch norms for the rest of training.

    The statistics of a few small patches differ from step to step. Behind such noise a network learns paler images than
    asked for, and in tests, which have the running statistics, it keeps them: dark areas become grey, bright ones dull.
    With statistics held the network learns what it is tested with. Weights of the norms learn on, as with ``norm_eval``
    of mmdetection's backbones.

    Args:
        begin: The epoch or iteration from which on statistics are held.
        by_epoch: Whether ``begin`` counts epochs.

    Raises:
        ValueError: If the model has no batch norm, ``begin`` is no number, or counts epochs in a loop by iterations.
    """

    priority = 'NORMAL'  # after StagedTrainingHook, whose stages may turn on training mode

    def __init__(self, begin: int = 0, by_epoch: bool = True) -> None:
        check_count('NormEvalHook.begin', begin)
        self.begin, self.by_epoch = begin, by_epoch
        self._norms, self._held = [], False

    def before_train(self, runner: Runner) -> None:
        """Look for batch norms before training starts."""
        self._norms, self._held = [m for m in runner.model.modules() if isinstance(m, _BatchNorm)], False
        if not self._norms:
            raise ValueError('NormEvalHook: the model has no batch norm. Take the hook out of the config.')
        check_reach(runner, self, self.by_epoch, self.begin)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Put batch norms into eval mode.

        Before each step, since loops and stages turn on training mode.
        """
        if (runner.epoch if self.by_epoch else runner.iter) < self.begin:
            return
        if not self._held:
            runner.logger.info('NormEvalHook: batch norms keep their statistics from here on')
            self._held = True
        for norm in self._norms:
            norm.eval()
