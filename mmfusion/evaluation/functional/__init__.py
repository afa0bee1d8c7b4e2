"""Fusion metrics as pure tensor functions, one family a file."""
