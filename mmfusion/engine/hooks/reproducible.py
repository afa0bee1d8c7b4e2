"""Randomness that a resumed run repeats."""

import itertools
import random

import numpy as np
import torch
from mmengine.dataset import RepeatDataset
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmfusion.registry import HOOKS


@HOOKS.register_module()
class ReproducibleEpochHook(Hook):
    """Make each epoch a function of (seed, rank, epoch), for resumed runs.

    mmengine's checkpoints hold no random state, and its workers' generators run on from epoch to epoch. At the start of an
    epoch this hook seeds the generators of the process, and tells the datasets the epoch, from which
    :class:`FusionDataset` seeds the augmentation of each sample; the number of workers then does not matter either.
    In a loop by iterations, whose batches mmengine draws again when it resumes, it seeds the process before each batch is
    drawn and before each iteration, so that augmentation and dropout repeat.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner):
        """Seed the process and the datasets."""
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = self._seeded(loop.dataloader_iterator, runner)
        if not isinstance(loop, EpochBasedTrainLoop):
            return
        self._seed(runner, runner.epoch)
        self._tell(runner.train_dataloader.dataset, runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Seed the process, in a loop by iterations."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._seed(runner, runner.iter)

    def _seeded(self, batches, runner):
        for count in itertools.count():
            self._seed(runner, count, 1)
            yield next(batches)

    @staticmethod
    def _seed(runner, *count):
        state = np.random.SeedSequence((runner.seed, get_rank(), *count)).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))
        torch.manual_seed(int(state[2]))

    def _tell(self, dataset, runner):
        if hasattr(dataset, 'set_epoch'):
            dataset.set_epoch(runner.seed, runner.epoch)
        inner = getattr(dataset, 'datasets', None) or [d for d in [getattr(dataset, 'dataset', None)] if d is not None]
        for d in inner:
            self._tell(d, runner)
        if isinstance(dataset, RepeatDataset) and runner.epoch == 0:
            runner.logger.warning(
                'RepeatDataset gives the same augmentation for each repetition of a sample within an epoch, because the '
                'augmentation is a function of (seed, epoch, sample). Train more epochs instead.'
            )
