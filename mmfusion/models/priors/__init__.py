"""Frozen priors."""

from .cached import CachedPrior
from .clip import CLIPPrior
from .dinov2 import DINOv2Prior, FrozenBackbone
from .features import FeaturePrior, PriorFeatures
from .frozen import FrozenPrior, PriorHolder, held_priors
from .vgg import VGGPrior

__all__ = [
    'CLIPPrior',
    'CachedPrior',
    'DINOv2Prior',
    'FeaturePrior',
    'FrozenBackbone',
    'FrozenPrior',
    'PriorFeatures',
    'PriorHolder',
    'VGGPrior',
    'held_priors',
]
