"""Fusers: a network with its losses and its colours."""

from .adversarial_fuser import AdversarialFuser
from .batch import Batch, take
from .color import LuminanceColor, MatrixColor, RGBColor, WeightedChromaColor, luminance
from .image_fuser import ImageFuser

__all__ = [
    'AdversarialFuser',
    'Batch',
    'ImageFuser',
    'LuminanceColor',
    'MatrixColor',
    'RGBColor',
    'WeightedChromaColor',
    'luminance',
    'take',
]
