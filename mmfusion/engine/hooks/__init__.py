"""Hooks."""

from .channels_last import ChannelsLastHook, to_channels_last
from .fusion_panels import FusionPanelHook
from .guide import GuideHook
from .loss_weight import LossWeightHook
from .norm_eval import NormEvalHook
from .prior_record import PriorRecordHook
from .reproducible import ReproducibleEpochHook
from .source_balance import SourceBalanceHook, source_shares
from .staged_training import StagedTrainingHook
from .task_classes import TaskClassesHook
from .test_result import TestResultHook

__all__ = [
    'ChannelsLastHook',
    'FusionPanelHook',
    'GuideHook',
    'LossWeightHook',
    'NormEvalHook',
    'PriorRecordHook',
    'ReproducibleEpochHook',
    'SourceBalanceHook',
    'StagedTrainingHook',
    'TaskClassesHook',
    'TestResultHook',
    'source_shares',
    'to_channels_last',
]
