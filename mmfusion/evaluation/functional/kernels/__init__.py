"""Loops compiled for a CPU.

Nothing is imported here: numba takes a second, which only those pay who compute metrics.
"""
