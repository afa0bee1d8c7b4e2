"""Models: methods, priors, losses, fusers that join them, and cascades."""

from . import cascades, data_preprocessors, fusers, losses, methods, priors

__all__ = ['cascades', 'data_preprocessors', 'fusers', 'losses', 'methods', 'priors']
