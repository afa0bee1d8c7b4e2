"""Comparison of fusion methods by what a task model makes of their images."""
