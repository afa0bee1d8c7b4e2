"""Fixtures of the tests of transforms."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def load_synthetic():
    """``main`` of the tool that writes synthetic scenes in the layout of a dataset."""
    file = Path(__file__).resolve().parents[3] / 'tools/dataset_converters/synthetic.py'
    spec = importlib.util.spec_from_file_location('synthetic_tool', file)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.main
