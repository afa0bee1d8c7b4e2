"""Warnings in mmengine's log."""

import logging

from mmengine.logging import print_log


def log_warning(text: str) -> None:
    """Warn in the log of the run at hand."""
    print_log(text, 'current', logging.WARNING)
