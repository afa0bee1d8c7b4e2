"""What users call: fusing by a trained model. The makers of masks are in the modules ``mask_*``."""

from .inferencer import FusionInferencer, drop_losses, find_config, init_model, list_models, load_model_config

__all__ = ['FusionInferencer', 'drop_losses', 'find_config', 'init_model', 'list_models', 'load_model_config']
