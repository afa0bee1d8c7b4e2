"""Frozen priors."""

from .frozen import FrozenPrior, PriorHolder
from .vgg import VGGPrior

__all__ = ['FrozenPrior', 'PriorHolder', 'VGGPrior']
