"""The fuser: a network with its losses and its way from colour images to colour images."""

from .image_fuser import ImageFuser
from .source_fuser import SourceFuser

__all__ = ['ImageFuser', 'SourceFuser']
