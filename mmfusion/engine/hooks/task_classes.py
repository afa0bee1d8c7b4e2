"""A check that the data's classes are the task model's."""

from mmengine.hooks import Hook

from mmfusion.models.checkpoint import unwrap
from mmfusion.registry import HOOKS


@HOOKS.register_module()
class TaskClassesHook(Hook):
    """Compare stock heads' ``num_classes`` with the datasets', before each loop.

    A head with too many classes trains without a word; one with too few stops in the loss, on a GPU with an assertion that
    names nothing.

    Raises:
        ValueError: If they differ; both are named.
    """

    def before_train(self, runner):
        """Compare with the training set."""
        self._check(runner.model, runner.train_dataloader.dataset, 'train_dataloader')

    def before_val(self, runner):
        """Compare with the validation set."""
        self._check(runner.model, runner.val_dataloader.dataset, 'val_dataloader')

    def before_test(self, runner):
        """Compare with the test set."""
        self._check(runner.model, runner.test_dataloader.dataset, 'test_dataloader')

    def _check(self, model, dataset, loader):
        classes = dataset.metainfo.get('classes') or ()
        model = unwrap(model)
        task = getattr(model, 'task', model)
        for name, module in task.named_modules():
            heads = getattr(module, 'num_classes', None)
            # A region proposal head knows one class: object.
            if (
                not name.endswith('head')
                or name.endswith('rpn_head')
                or not isinstance(heads, int)
                or heads == len(classes)
            ):
                continue
            raise ValueError(
                f'{loader}: {type(dataset).__name__} has {len(classes)} classes ({", ".join(classes) or "none"}), but '
                f'{getattr(model, "task_name", "model")}.{name} ({type(module).__name__}) has num_classes={heads}. '
                f'Set num_classes={len(classes)} in every head of the model, or metainfo of the dataset.'
            )
