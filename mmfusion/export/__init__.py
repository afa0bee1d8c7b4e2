"""Export of fusers as graphs: ONNX, TorchScript, OpenVINO; and running them."""

from .graph import FusionGraph
from .runtime import ExportedModel
from .write import FORMATS, ExportError, export, format_of

__all__ = ['FORMATS', 'ExportError', 'ExportedModel', 'FusionGraph', 'export', 'format_of']
