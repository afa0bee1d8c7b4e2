"""Fixtures of the tests of the verbs, which run in this process: each import of the stack costs seconds."""

import pytest


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""
