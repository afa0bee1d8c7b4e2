"""Comparison of methods by what a task model makes of images."""
