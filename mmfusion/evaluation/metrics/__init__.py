"""Evaluators for mmengine."""

from .fusion_metric import FusionMetric
from .per_class_iou import PerClassIoUMetric

__all__ = ['FusionMetric', 'PerClassIoUMetric']
