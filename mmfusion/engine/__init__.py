"""What runs around a model: hooks and schedules."""

from . import hooks

__all__ = ['hooks']
