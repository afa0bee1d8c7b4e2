"""Losses that several fusion methods share; those of a single method are in ``methods``."""

from .discriminator import Discriminator
from .pixel import DifferenceCorrelationLoss, MaskedIntensityLoss, MaxIntensityLoss, SSIMLoss, TextureLoss
from .reconstruction import ReconstructionLoss

__all__ = [
    'DifferenceCorrelationLoss',
    'Discriminator',
    'MaskedIntensityLoss',
    'MaxIntensityLoss',
    'ReconstructionLoss',
    'SSIMLoss',
    'TextureLoss',
]
