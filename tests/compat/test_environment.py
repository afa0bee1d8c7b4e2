"""Paths in environment variables, as people have them, on their way through a config."""

import os

import pytest
from mmengine.config import Config

from mmfusion.compat.environment import make_fit_for_configs, plain

TEXT = "root = '{{$MMFUSION_DATA:data}}/MSRS'\n"


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (r'D:\datasets\666', 'D:/datasets/666'),
        (r'\\server\new\x', '//server/new/x'),
        ("/home/it's/data", "/home/it's/data"),
        ('/a "b"/c', '/a "b"/c'),
        ('~/data', f'{os.path.expanduser("~")}/data'),
        ('', 'data'),
        ('  ', 'data'),
        ('/plain/data', '/plain/data'),
        ('/two\nlines\r/a', '/two\nlines\r/a'),
        ('/not \udcff\udcc3 UTF-8', '/not \udcff\udcc3 UTF-8'),
    ],
)
def test_the_config_holds_the_path_that_was_meant(value, expected, tmp_path, monkeypatch):
    monkeypatch.setenv('MMFUSION_DATA', value)
    make_fit_for_configs()
    once = dict(os.environ)
    make_fit_for_configs()
    assert dict(os.environ) == once
    (tmp_path / 'c.py').write_text(TEXT)
    assert Config.fromfile(tmp_path / 'c.py').root == f'{expected}/MSRS'
    assert plain(os.environ.get('MMFUSION_DATA', 'data')) == expected
