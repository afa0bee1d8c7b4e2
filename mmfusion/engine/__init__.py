"""What runs around a model: hooks and schedules."""

from . import hooks, optim, schedulers

__all__ = ['hooks', 'optim', 'schedulers']
