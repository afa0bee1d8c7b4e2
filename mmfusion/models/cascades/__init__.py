"""Cascades: a fuser in front of a stock segmenter or detector, as one model."""

from .fusion_detector import FusionDetector
from .fusion_segmentor import FusionSegmentor
from .task_cascade import TaskCascade

__all__ = ['FusionDetector', 'FusionSegmentor', 'TaskCascade']
