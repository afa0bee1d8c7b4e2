"""Hooks."""

from .fusion_panels import FusionPanelHook
from .reproducible import ReproducibleEpochHook
from .source_balance import SourceBalanceHook, source_shares

__all__ = ['FusionPanelHook', 'ReproducibleEpochHook', 'SourceBalanceHook', 'source_shares']
