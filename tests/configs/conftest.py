"""Fixtures of the tests of configs."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def load_tool():
    """A tool as a module, by its path below the repository."""

    def load(path):
        spec = importlib.util.spec_from_file_location(f'tool_{Path(path).stem}', ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
