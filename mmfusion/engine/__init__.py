"""What runs around a model: hooks and schedules."""

from . import hooks, schedulers

__all__ = ['hooks', 'schedulers']
