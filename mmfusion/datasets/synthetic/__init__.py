"""Synthetic infrared-visible scenes: generator, dataset, and rendering transform."""

from .dataset import SyntheticDataset
from .render import BOX_CLASSES, SyntheticScene, cached_scene, render_scene, scene_name
from .transform import RenderSyntheticPair

__all__ = [
    'BOX_CLASSES',
    'RenderSyntheticPair',
    'SyntheticDataset',
    'SyntheticScene',
    'cached_scene',
    'render_scene',
    'scene_name',
]
