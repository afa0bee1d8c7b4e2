"""What tests of models share."""

import pytest


@pytest.fixture
def said(monkeypatch):
    """What goes to the log."""
    lines = []
    for module in ('models.checkpoint', 'models.resuming', 'utils.log'):
        monkeypatch.setattr(f'mmfusion.{module}.print_log', lambda text, *_: lines.append(text))
    return lines
