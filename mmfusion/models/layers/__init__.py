"""Layers shared by two networks or more."""

from .attention import attention
from .grdb import GRDB
from .laplacian import laplacian
from .min_max import min_max_normalize, not_zero, rescale
from .padding import exporting, exporting_file, gather_reflected
from .precision import at_least_float32
from .restormer import MDTA, ChannelLayerNorm, RestormerBlock
from .saliency import visual_saliency
from .sobel import length, sobel, sobel_magnitude
from .unit_tanh import UnitTanh

__all__ = [
    'GRDB',
    'MDTA',
    'ChannelLayerNorm',
    'RestormerBlock',
    'UnitTanh',
    'at_least_float32',
    'attention',
    'exporting',
    'exporting_file',
    'gather_reflected',
    'laplacian',
    'length',
    'min_max_normalize',
    'not_zero',
    'rescale',
    'sobel',
    'sobel_magnitude',
    'visual_saliency',
]
