"""Models: networks, priors, losses and the fuser that joins them."""

from . import data_preprocessors, fusers, losses, networks, priors

__all__ = ['data_preprocessors', 'fusers', 'losses', 'networks', 'priors']
