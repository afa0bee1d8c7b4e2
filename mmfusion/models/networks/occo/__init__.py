"""OCCO's feature interaction fusion network."""

from .fifn import FIFB, FIFN

__all__ = ['FIFB', 'FIFN']
