"""OCCO: feature interaction fusion network and object-aware contextual contrastive learning."""

from .contextual import contextual_distance, euclidean_distance
from .contextual_contrastive import ContextualContrastiveLoss
from .fast import FastFIFB
from .fifb import FIFB
from .fifn import FIFN
from .regions import MaskedRegionLoss, split_masks

__all__ = [
    'FIFB',
    'FIFN',
    'ContextualContrastiveLoss',
    'FastFIFB',
    'MaskedRegionLoss',
    'contextual_distance',
    'euclidean_distance',
    'split_masks',
]
