"""Frozen priors."""

from .cached import CachedPrior
from .clip import CLIPPrior, CLIPTextPrior
from .dinov2 import DINOv2Prior, FrozenBackbone
from .features import FeaturePrior, PriorFeatures, TextPrior
from .frozen import FrozenPrior, PriorHolder, held_priors
from .vgg import VGGPrior

__all__ = [
    'CLIPPrior',
    'CLIPTextPrior',
    'CachedPrior',
    'DINOv2Prior',
    'FeaturePrior',
    'FrozenBackbone',
    'FrozenPrior',
    'PriorFeatures',
    'PriorHolder',
    'TextPrior',
    'VGGPrior',
    'held_priors',
]
