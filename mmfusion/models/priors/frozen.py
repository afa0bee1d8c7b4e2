"""Frozen networks that guide training and are no part of what is trained."""

from torch import nn


class FrozenPrior(nn.Module):
    """A network that never learns: always in eval mode, without gradient buffers.

    A model holds it by :class:`PriorHolder`, outside its own parameters, so that checkpoints, optimizers, EMA copies, DDP
    and ``init_weights`` of the model never see it. Gradient still flows *through* it.
    """

    def freeze(self):
        """Turn off gradients of all parameters; subclasses call it once they are built."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode=True):
        """Stay in eval mode."""
        return super().train(False)

    def __deepcopy__(self, memo):
        """A copy of a model (EMA) shares the prior: it is the same for all of them."""
        return self


class PriorHolder(nn.Module):
    """Holds frozen priors beside its parameters, and moves them with it to another device or type."""

    def __init__(self):
        super().__init__()
        self._priors = {}

    def hold(self, name, prior):
        """Keep ``prior`` (a :class:`FrozenPrior`) under ``name``; read it back by :meth:`prior`."""
        self._priors[name] = prior

    def prior(self, name):
        """The prior kept under ``name``."""
        return self._priors[name]

    def _apply(self, fn, *args, **kwargs):
        for prior in self._priors.values():
            prior._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)
