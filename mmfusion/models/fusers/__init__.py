"""Fusers: a network with its losses and its colours."""

from .adversarial_fuser import AdversarialFuser
from .batch import Batch, take
from .color import LuminanceColor, RGBColor, WeightedChromaColor, luminance
from .image_fuser import ImageFuser

__all__ = [
    'AdversarialFuser',
    'Batch',
    'ImageFuser',
    'LuminanceColor',
    'RGBColor',
    'WeightedChromaColor',
    'luminance',
    'take',
]
