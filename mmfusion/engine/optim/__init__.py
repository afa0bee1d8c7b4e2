"""Optimizers: one a module, and mixed precision on any device."""

from .wrappers import AutocastOptimWrapper, ModuleOptimWrapperConstructor, use_amp, without_amp

__all__ = ['AutocastOptimWrapper', 'ModuleOptimWrapperConstructor', 'use_amp', 'without_amp']
