"""Fusion networks, one paper a file or folder."""

from .average import AverageNetwork
from .gffusion import GFFusion
from .mgfusion import MGFusion
from .occo import FIFN
from .seafusion import SeAFusion

__all__ = ['FIFN', 'AverageNetwork', 'GFFusion', 'MGFusion', 'SeAFusion']
