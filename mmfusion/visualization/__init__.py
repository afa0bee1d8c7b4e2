"""Drawing of pairs and fused images."""

from .fusion_visualizer import FusionLocalVisualizer, panel

__all__ = ['FusionLocalVisualizer', 'panel']
