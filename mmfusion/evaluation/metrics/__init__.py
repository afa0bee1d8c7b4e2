"""Evaluators for mmengine."""

from .fusion_metric import FusionMetric
from .mapped_iou import MappedIoUMetric
from .per_class_iou import PerClassIoUMetric

__all__ = ['FusionMetric', 'MappedIoUMetric', 'PerClassIoUMetric']
