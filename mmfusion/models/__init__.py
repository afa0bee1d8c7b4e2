"""Models: methods, priors, losses, the fuser that joins them, and cascades of a fuser and a stock task model."""

from . import cascades, data_preprocessors, fusers, losses, methods, priors

__all__ = ['cascades', 'data_preprocessors', 'fusers', 'losses', 'methods', 'priors']
