"""Transforms of image pairs."""

from .crop import ForegroundCrop
from .formatting import PackFusionInputs
from .fuse import FuseImages
from .labels import LoadSegLabels
from .loading import LoadCompanions, LoadImagePair, LoadSaliencyMasks, WarpInfrared
from .mfnet import LoadMFNetPair
from .stock import adapt_pipeline
from .wrappers import ForEachModality, VisibleOnly

__all__ = [
    'ForEachModality',
    'ForegroundCrop',
    'FuseImages',
    'LoadCompanions',
    'LoadImagePair',
    'LoadMFNetPair',
    'LoadSaliencyMasks',
    'LoadSegLabels',
    'PackFusionInputs',
    'VisibleOnly',
    'WarpInfrared',
    'adapt_pipeline',
]
