"""Fusion networks, one paper a file or folder."""

from .occo import FIFN

__all__ = ['FIFN']
