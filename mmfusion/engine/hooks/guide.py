"""A check that what guides a fuser has learnt something."""

import torch
from mmengine.hooks import Hook
from mmengine.model import PretrainedInit
from torch import nn

from mmfusion.models.checkpoint import unwrap
from mmfusion.models.freezing import named_parts
from mmfusion.registry import HOOKS, WEIGHT_INITIALIZERS, is_a
from mmfusion.utils.checkpoint import read_checkpoint


@HOOKS.register_module()
class GuideHook(Hook):
    """Refuse to train a fuser by a frozen, random head.

    Where the fuser learns, the task's weight is above 0 and the task's heads do not learn, these must hold the values of a
    checkpoint (``load_from``, ``resume``, ``task_checkpoint`` or ``init_cfg`` with ``Pretrained``), or have learnt in an
    earlier stage. A checkpoint's ``meta['guide']`` tells where the heads' values come from, None where they are random.

    Args:
        parts (Sequence[str], optional): Names of the parts that must not be random. Default: the children of the task
            model whose names end with ``head``, or all of it where it has none.
        allow_random_guide (bool): Only warn.

    Raises:
        ValueError: If the guide is random, at the first step; if the model is no cascade.
    """

    # After StagedTrainingHook and LossWeightHook, which say what is trained in this step, and how.
    priority = 'NORMAL'

    def __init__(self, parts=None, allow_random_guide=False):
        self.parts, self.allow_random_guide = parts, allow_random_guide
        self._loaded, self._source, self._guide, self._warned = None, None, {}, False

    def after_load_checkpoint(self, runner, checkpoint):
        """Remember what is about to be loaded."""
        model = unwrap(runner.model)
        state, meta = dict(checkpoint.get('state_dict', checkpoint)), checkpoint.get('meta', {})
        if hasattr(model, 'task_name') and meta.get('guide', '') is not None:
            source = meta.get('guide') or runner._load_from or 'the checkpoint'
            state = model.place_state_dict(state)
            self._loaded = (source, {k: v for k, v in state.items() if k.startswith(f'{model.task_name}.')})

    def before_train(self, runner):
        """Find the guide, and where its values come from."""
        model = unwrap(runner.model)
        if not hasattr(model, 'task_name'):
            raise ValueError(f'GuideHook: {type(model).__name__} is no cascade (FusionSegmentor, FusionDetector).')
        names = self.parts
        if names is None:
            heads = [name for name, _ in model.task.named_children() if name.endswith('head')]
            names = [f'{model.task_name}.{name}' for name in heads] or [model.task_name]
        self._guide = {
            f'{name}.{rest}'.removesuffix('.'): parameter
            for name, part in named_parts(model, names).items()
            for rest, parameter in (part.named_parameters() if isinstance(part, nn.Module) else [('', part)])
        }
        self._source = next((str(source) for source, state in self._candidates(model) if self._holds(state)), None)
        self._loaded = None
        if self._source:
            runner.logger.info(f'the guide ({", ".join(names)}) has the weights of {self._source}')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Look at who trains whom in this step."""
        model = unwrap(runner.model)
        if self._source or self._warned or self._learns(model):
            return
        if not model.loss_weights['task'] or model.fuser_is_frozen:
            return
        heads = ', '.join(sorted({name.rpartition('.')[0] for name in self._guide}))
        found = f'{heads} has random weights and does not learn in this stage, but guides the fuser (task weight '
        found += f'{model.loss_weights["task"]:g})'
        if not self.allow_random_guide:
            raise ValueError(
                f'{found}. Start from trained weights (task_checkpoint=FILE of the cascade, load_from, or init_cfg; '
                'tools/model_converters/map_seg_head.py makes a head from one of other classes), train it in a stage '
                "before (StagedTrainingHook), or set the task's weight to 0 until then. GuideHook("
                'allow_random_guide=True) lets it be, for demos.'
            )
        runner.logger.warning(f'{found}. This shows that everything runs, and no more.')
        self._warned = True

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Remember that the guide has learnt."""
        if not self._source and self._learns(unwrap(runner.model)):
            self._source = 'an earlier stage of this run'

    def before_save_checkpoint(self, runner, checkpoint):
        """Write where the guide's values come from."""
        checkpoint['meta']['guide'] = self._source

    def _learns(self, model):
        return model.loss_weights['task'] > 0 and all(p.requires_grad for p in self._guide.values())

    def _candidates(self, model):
        """Checkpoints that may have given the guide its values, and their states."""
        if self._loaded:
            yield self._loaded
        file = model.checkpoints.get(model.task_name)
        if file:
            yield file, _below(model.task_name, read_checkpoint(file)[0])
        for path, module in model.named_modules():
            if not any(name.startswith(f'{path}.'.removeprefix('.')) for name in self._guide):
                continue
            configs = getattr(module, 'init_cfg', None) or []
            for config in configs if isinstance(configs, list | tuple) else [configs]:
                if is_a(config, WEIGHT_INITIALIZERS, PretrainedInit):
                    yield config['checkpoint'], _below(path, _stripped(config))

    def _holds(self, state):
        """Whether all values of the guide are those of a state dict."""
        return all(
            name in state and state[name].shape == p.shape and torch.equal(state[name].to(p), p)
            for name, p in self._guide.items()
        )


def _stripped(config):
    """State dict of a ``Pretrained`` initialisation, without its prefix."""
    state, _ = read_checkpoint(config['checkpoint'])
    prefix = config.get('prefix')
    if not prefix:
        return state
    prefix = prefix.removesuffix('.') + '.'
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _below(path, state):
    return {f'{path}.{name}'.removeprefix('.'): value for name, value in state.items()}
