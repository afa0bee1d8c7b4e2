"""Procedural street scenes seen by two cameras: parts of ``render``.

``canvas`` holds the maps that are painted, ``surfaces`` paints sky, ground, buildings and plants, ``objects`` persons,
cars and lamps, ``sensors`` turns the painted maps into the two images, ``layout`` decides what stands where.
"""

from .canvas import CLASSES, Camera, Canvas
from .layout import compose_scene
from .sensors import sense_infrared, sense_visible, smoke_map

__all__ = ['CLASSES', 'Camera', 'Canvas', 'compose_scene', 'sense_infrared', 'sense_visible', 'smoke_map']
