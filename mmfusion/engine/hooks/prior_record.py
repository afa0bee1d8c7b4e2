"""Which frozen priors a checkpoint was trained with."""

from mmengine.hooks import Hook

from mmfusion.models.checkpoint import check_priors, prior_records
from mmfusion.registry import HOOKS


@HOOKS.register_module()
class PriorRecordHook(Hook):
    """Record names and hashes of frozen priors in checkpoints; refuse other priors.

    The record is ``meta['priors']``: path within the model → ``name`` and ``sha256``. Priors of losses are compared only
    where training is resumed: a test does not need them.

    Args:
        allow_other (bool): Whether ``load_from`` may start from a checkpoint that was trained with other priors. Resuming
            never may.
    """

    # Before hooks that may replace state dicts.
    priority = 'HIGH'

    def __init__(self, allow_other=False):
        self.allow_other = allow_other

    def before_save_checkpoint(self, runner, checkpoint):
        """Write the record."""
        checkpoint['meta']['priors'] = prior_records(runner.model)

    def after_load_checkpoint(self, runner, checkpoint):
        """Compare; a ``CheckpointError`` names a prior that is another one."""
        resume = runner._resume
        if resume or not self.allow_other:
            check_priors(
                runner.model, checkpoint.get('meta', {}), runner._load_from or 'the checkpoint', training=resume
            )
