"""Layers shared by two networks or more."""

from .min_max import min_max_normalize, rescale
from .sobel import sobel

__all__ = ['min_max_normalize', 'rescale', 'sobel']
