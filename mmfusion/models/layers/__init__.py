"""Layers shared by two networks or more."""

from .min_max import min_max_normalize, rescale
from .precision import at_least_float32
from .sobel import sobel

__all__ = ['at_least_float32', 'min_max_normalize', 'rescale', 'sobel']
