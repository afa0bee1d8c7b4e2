"""Frozen networks that guide training and are not trained."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar('T')


class FrozenPrior(nn.Module):
    """A network that never learns: always in eval mode, without gradient buffers.

    A model holds it by :class:`PriorHolder`, outside its own parameters, so that checkpoints, optimizers, EMA copies, DDP
    and ``init_weights`` of the model never see it. Gradient still flows *through* it. A checkpoint records
    :attr:`identity` instead of the weights.
    """

    def freeze(self) -> 'FrozenPrior':
        """Turn off all gradients; subclasses call it once built."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> 'FrozenPrior':
        """Stay in eval mode."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenPrior':
        """Share the prior with a copy of a model (EMA)."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'FrozenPrior':
        _ = self.weights_hash  # of the weights as they were loaded: a cast to half precision changes every byte
        return super()._apply(fn, *args, **kwargs)

    @property
    def label(self) -> str:
        """Name the prior: its class and what it was built from."""
        source = [Path(str(getattr(self, key))).name for key in ('arch', 'weights') if hasattr(self, key)]
        return f'{type(self).__name__}({", ".join(source)})'

    @cached_property
    def weights_hash(self) -> str:
        """Hash the weights once (:func:`hash_weights`): they never change."""
        return hash_weights(self.state_dict())

    @property
    def identity(self) -> dict[str, str]:
        """Give what a checkpoint records: ``name`` and ``sha256``."""
        return dict(name=self.label, sha256=self.weights_hash)


class PriorHolder(nn.Module):
    """Hold frozen priors beside the parameters, on the same device and type.

    Arguments are handed on to the next class, so that it can stand first among the bases of a model.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._priors = {}

    def hold(self, name: str, prior: FrozenPrior) -> None:
        """Keep ``prior`` (a :class:`FrozenPrior`) under ``name``; read it back by :meth:`prior`."""
        self._priors[name] = prior

    def prior(self, name: str) -> FrozenPrior:
        """Give the prior kept under ``name``."""
        return self._priors[name]

    def priors(self) -> dict[str, FrozenPrior]:
        """Give all priors kept, by name."""
        return dict(self._priors)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'PriorHolder':
        for prior in self._priors.values():
            prior._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """Hash names, types, shapes and bytes of a state dict (SHA-256)."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def seeded(build: Callable[[], T]) -> T:
    """Build a prior with the same random numbers in every run.

    The generators of the caller are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs, too
        return build()


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str | Path, what: str) -> None:
    """Load a state dict that must fit in every name and shape.

    Raises:
        RuntimeError: If it does not; the first differences are named.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        more = f' … ({len(lines) - 3} more)' if len(lines) > 3 else ''
        raise RuntimeError(f'{source}: not the weights of {what}. {" ".join(lines[:3])[:1000]}{more}') from e


def held_priors(model: nn.Module) -> dict[str, FrozenPrior]:
    """Find all priors that a model or its parts hold.

    Returns:
        Path (of the holder within the model, and the prior's name there) → prior.
    """
    return {
        '.'.join(filter(None, (path, name))): prior
        for path, module in model.named_modules()
        if isinstance(module, PriorHolder)
        for name, prior in module.priors().items()
    }
