"""Cascades: a fuser before a stock segmenter or detector."""

from .fusion_detector import FusionDetector
from .fusion_segmentor import FusionSegmentor
from .task_cascade import TaskCascade

__all__ = ['FusionDetector', 'FusionSegmentor', 'TaskCascade']
