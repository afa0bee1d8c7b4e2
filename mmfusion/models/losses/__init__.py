"""Losses that several fusion methods share; those of a single method are in ``methods``."""

from .pixel import MaskedIntensityLoss, MaxIntensityLoss, SSIMLoss, TextureLoss

__all__ = ['MaskedIntensityLoss', 'MaxIntensityLoss', 'SSIMLoss', 'TextureLoss']
