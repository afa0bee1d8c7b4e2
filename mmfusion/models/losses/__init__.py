"""Losses of fusion networks."""

from .contextual import contextual_distance, euclidean_distance
from .contextual_contrastive import ContextualContrastiveLoss
from .pixel import MaskedIntensityLoss, MaskedRegionLoss, MaxIntensityLoss, SSIMLoss, TextureLoss, split_masks

__all__ = [
    'ContextualContrastiveLoss',
    'MaskedIntensityLoss',
    'MaskedRegionLoss',
    'MaxIntensityLoss',
    'SSIMLoss',
    'TextureLoss',
    'contextual_distance',
    'euclidean_distance',
    'split_masks',
]
