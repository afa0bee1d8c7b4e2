"""AdversarialFuser: trains a fusion network against discriminators."""

from collections.abc import Mapping

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from mmfusion.models.layers import at_least_float32
from mmfusion.models.parallel import average_gradients
from mmfusion.registry import MODELS

from .batch import Batch, check_finite, take
from .image_fuser import ImageFuser


@MODELS.register_module()
class AdversarialFuser(ImageFuser):
    """Train a fusion network against discriminators, with an optimizer each.

    A discriminator (such as :class:`mmfusion.Discriminator`) is a module with two functions that take by name, as losses do:
    ``loss`` (its own, from a batch without graph) and ``fool`` (the fusion network's adversarial loss). In a step every
    discriminator learns first; then the network learns from its losses, ``loss_<name>``, and from each ``fool``,
    ``loss_<discriminator>_fool``.

    The config of the optimizers has the constructor ``mmfusion.ModuleOptimWrapperConstructor``: ``fuser``, and
    ``discriminators`` for all of them or an entry under the name of one.

    Args:
        discriminators: Name → config of a discriminator; ``inputs`` as for losses.
        discriminator_steps: How often the discriminators learn in a step.
        **kwargs: Those of :class:`ImageFuser`.

    Raises:
        ValueError: If a discriminator has the name of a loss; on training, if there is one optimizer for all.
    """

    training_only = ('losses', 'discriminators')
    # How several processes wrap it; see mmfusion.cli.running.load_config.
    model_wrapper = 'mmfusion.StepDataParallel'

    def __init__(
        self, discriminators: Mapping[str, dict] | None = None, discriminator_steps: int = 1, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        twice = sorted(set(self.losses) & set(discriminators or {}))
        if twice:
            raise ValueError(f'discriminators: {", ".join(twice)} is also the name of a loss; choose another')
        self.discriminators = self.build_parts(discriminators)
        self.discriminator_steps = discriminator_steps

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Train discriminators, then the fusion network, and give values to log."""
        if not isinstance(optim_wrapper, OptimWrapperDict):
            raise ValueError(
                'AdversarialFuser needs an optimizer for each module: optim_wrapper=dict(constructor='
                "'mmfusion.ModuleOptimWrapperConstructor', fuser=dict(optimizer=…), discriminators=dict(optimizer=…))."
            )
        data = self.data_preprocessor(data, True)
        inputs, samples = data['inputs'], data['data_samples']
        self.check_one_size(inputs['vi'])
        with optim_wrapper['fuser'].optim_context(self):
            batch = self.run(inputs['vi'], inputs.get('ir'), samples)
        log = self._train_discriminators(batch.detached(), optim_wrapper)
        self.discriminators.requires_grad_(False)
        with optim_wrapper['fuser'].optim_context(self):
            losses = self.losses_of(batch)
            losses.update({f'loss_{name}_fool': self._ask(name, 'fool', batch) for name in self.discriminators})
        self.discriminators.requires_grad_(True)
        check_finite({k: v for k, v in losses.items() if k.startswith('loss')}, samples)
        total, values = self.parse_losses(losses)
        self._learn(optim_wrapper['fuser'], total)
        return {**values, **log}

    def _train_discriminators(self, batch: Batch, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        log = {}
        for _ in range(self.discriminator_steps):
            for name, discriminator in self.discriminators.items():
                with optim_wrapper[name].optim_context(discriminator):
                    loss = self._ask(name, 'loss', batch)
                check_finite({f'{name}/loss': loss}, batch.samples, 'the loss of a discriminator')
                self._learn(optim_wrapper[name], loss)
                log[f'{name}/discriminator_loss'] = loss.detach()
        return log

    @staticmethod
    def _learn(optim_wrapper: OptimWrapper, loss: Tensor) -> None:
        """Update an optimizer's parameters, by the mean gradient of all processes."""
        optim_wrapper.backward(optim_wrapper.scale_loss(loss))
        average_gradients(p for group in optim_wrapper.optimizer.param_groups for p in group['params'])
        if optim_wrapper.should_update():
            optim_wrapper.step()
            optim_wrapper.zero_grad()

    def _ask(self, name: str, function: str, batch: Batch) -> Tensor:
        """Call a discriminator's ``loss`` or ``fool`` with what it takes."""
        part = getattr(self.discriminators[name], function)
        given = take(part, batch, self.inputs[name])
        return part(**{k: at_least_float32(v) if torch.is_tensor(v) else v for k, v in given.items()})
