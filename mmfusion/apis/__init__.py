"""What users call: fusing by a trained model."""

from mmfusion.models.hub import init_model, load_model_config
from mmfusion.utils.configs import find_config, list_models

from .inferencer import FusionInferencer

__all__ = ['FusionInferencer', 'find_config', 'init_model', 'list_models', 'load_model_config']
