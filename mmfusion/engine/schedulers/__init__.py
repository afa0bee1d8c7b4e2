"""Schedules of the optimizer."""

from .group import GroupConstantLR, GroupCosineAnnealingLR, GroupLinearLR, GroupMultiStepLR, GroupPolyLR, GroupStepLR

__all__ = [
    'GroupConstantLR',
    'GroupCosineAnnealingLR',
    'GroupLinearLR',
    'GroupMultiStepLR',
    'GroupPolyLR',
    'GroupStepLR',
]
