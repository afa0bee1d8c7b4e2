"""Masks of salient objects, and label maps."""
