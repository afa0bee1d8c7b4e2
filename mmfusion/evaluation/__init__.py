"""Evaluation of fused images: metrics, protocols, evaluator, and reports."""

from . import functional
from .metrics import FusionMetric, MappedIoUMetric, PerClassIoUMetric
from .protocols import evaluate_images, rgb_to_grey
from .specs import METRIC_SPECS, PROTOCOLS, MetricSpec, resolve_metrics

__all__ = [
    'METRIC_SPECS',
    'PROTOCOLS',
    'FusionMetric',
    'MappedIoUMetric',
    'MetricSpec',
    'PerClassIoUMetric',
    'evaluate_images',
    'functional',
    'resolve_metrics',
    'rgb_to_grey',
]
