"""Losses that several methods share; those of one are in ``methods``."""

from .discriminator import Discriminator
from .pixel import (
    DifferenceCorrelationLoss,
    MaskedIntensityLoss,
    MaxIntensityLoss,
    SSIMLoss,
    TextureLoss,
    UndershootLoss,
)
from .reconstruction import ReconstructionLoss

__all__ = [
    'DifferenceCorrelationLoss',
    'Discriminator',
    'MaskedIntensityLoss',
    'MaxIntensityLoss',
    'ReconstructionLoss',
    'SSIMLoss',
    'TextureLoss',
    'UndershootLoss',
]
