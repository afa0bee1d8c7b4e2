"""An installation that cannot work is told so in one sentence."""

import warnings

import pytest

from mmfusion.compat import requirements, setup


@pytest.fixture
def installed(monkeypatch):
    """A table of what is installed, in the place of the real one; None stands for absent."""
    versions = {'mmengine': '0.10.7', 'mmpretrain': '1.2.0', 'setuptools': '80.0'}
    monkeypatch.setattr(requirements, '_installed', versions.get)
    return versions


@pytest.mark.parametrize('version', ['4.52.0', '4.53.0', '5.0.0'])
def test_transformers_too_new(installed, version):
    installed['transformers'] = version
    with pytest.raises(
        ImportError, match=rf"transformers {version} is installed.*pip install 'transformers>=4.45,<4.50'"
    ):
        requirements.check_transformers()


@pytest.mark.parametrize(
    'versions',
    [
        {'transformers': None},
        {'transformers': '4.49.0'},
        {'transformers': '4.51.3'},
        {'transformers': '5.0.0', 'mmpretrain': None},
        {'transformers': '5.0.0', 'mmpretrain': '1.3.0'},
    ],
)
def test_transformers_that_do_no_harm(installed, versions):
    installed.update(versions)
    requirements.check_transformers()


def test_mmcv_missing(monkeypatch):
    monkeypatch.setattr(requirements, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r"mmfusion needs mmcv.*pip install 'mmfusion\[lite\]'.*mim install"):
        requirements.check_mmcv()


def test_pkg_resources_missing(installed, monkeypatch):
    installed['setuptools'] = '82.0.0'
    monkeypatch.setattr(requirements, 'find_spec', lambda name: None)
    with pytest.warns(UserWarning, match=r"setuptools 82\.0\.0.*pip install 'setuptools<81'"):
        requirements.check_pkg_resources()


def test_this_installation_is_sound():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        setup()
