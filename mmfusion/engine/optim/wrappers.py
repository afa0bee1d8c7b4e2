"""Optimizer wrappers: one a module, and mixed precision without a GPU."""

from contextlib import contextmanager
from inspect import signature

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn

from mmfusion.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, is_a
from mmfusion.utils.configs import walk


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Train in bfloat16 by autocast, on a CPU too.

    Args:
        device_type: ``'cpu'``, ``'cuda'`` …
        **kwargs: Those of :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, device_type: str = 'cpu', **kwargs) -> None:
        super().__init__(**kwargs)
        self.device_type = device_type

    @contextmanager
    def optim_context(self, model: nn.Module):
        """Run the forward pass under autocast."""
        with super().optim_context(model), torch.autocast(self.device_type, torch.bfloat16):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ModuleOptimWrapperConstructor:
    """Build an optimizer for the fusion network and each discriminator.

    Args:
        optim_wrapper_cfg: ``fuser``: config of an optimizer wrapper, for all that is no discriminator; ``discriminators``,
            for each discriminator without an entry of its own name.
        paramwise_cfg: Not used; give it in an entry.

    Raises:
        KeyError: If a part has no entry, or an entry has no part.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.configs = {k: v for k, v in optim_wrapper_cfg.items() if k != 'type'}

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the wrappers of a model."""
        model = model.module if is_model_wrapper(model) else model
        discriminators = dict(getattr(model, 'discriminators', {}).items())
        parts = {'fuser': _Others(model), **discriminators}
        unknown = sorted(self.configs.keys() - parts.keys() - {'discriminators'})
        if unknown:
            raise KeyError(
                f'optim_wrapper: no part of the model is called {", ".join(unknown)}. It has fuser, discriminators, '
                f'{", ".join(discriminators)}.'
            )
        return OptimWrapperDict(**{name: self._build(name, part) for name, part in parts.items()})

    def _build(self, name, part):
        config = self.configs.get(name) or (self.configs.get('discriminators') if name != 'fuser' else None)
        if config is None:
            raise KeyError(f'optim_wrapper: no entry for {name!r}. Expected {name}=dict(optimizer=dict(type=…, lr=…)).')
        return build_optim_wrapper(part, dict(dict(type='OptimWrapper'), **config))


class _Others(nn.Module):
    """All of a model but its discriminators."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            if name != 'discriminators':
                self.add_module(name, child)


def use_amp(optim_wrapper: dict) -> None:
    """Turn on mixed precision in optimizer configs, each module's too, in place.

    On a GPU by mmengine's AmpOptimWrapper with a dynamic loss scale, on a CPU by :class:`AutocastOptimWrapper`.
    """
    inner = (
        [optim_wrapper] if 'optimizer' in optim_wrapper else [c for c in optim_wrapper.values() if isinstance(c, dict)]
    )
    for config in inner:
        if torch.cuda.is_available():
            config['type'] = 'AmpOptimWrapper'
            config.setdefault('loss_scale', 'dynamic')
        else:
            config['type'] = 'mmfusion.AutocastOptimWrapper'


def without_amp(optim_wrapper: dict) -> None:
    """Write ``OptimWrapper`` for ``AmpOptimWrapper`` where there is no GPU, in place.

    Stock models are written for GPUs. The log says what was replaced; for mixed precision on a CPU see :func:`use_amp`.
    """
    wrappers = [part for _, part in walk(optim_wrapper) if isinstance(part, dict) and 'optimizer' in part]
    for config in [] if torch.cuda.is_available() else wrappers:
        if is_a(config, OPTIM_WRAPPERS, AmpOptimWrapper):
            kind = OPTIM_WRAPPERS.get(config['type']) if isinstance(config['type'], str) else config['type']
            config['type'] = 'OptimWrapper'
            for cls in (cls for cls in kind.__mro__ if issubclass(cls, AmpOptimWrapper)):
                for option in signature(cls).parameters.keys() - signature(OptimWrapper).parameters.keys():
                    config.pop(option, None)
            print_log(
                f'The config trains by {kind.__name__}, which needs a GPU: using OptimWrapper, in float32.', 'current'
            )
