"""Places that cannot be written are refused before any work, and nothing is left there."""

import re

import pytest

from mmfusion.utils import check_writable


@pytest.mark.parametrize(
    ('path', 'folder', 'message'),
    [
        ('file', True, '--out {}: a file; expected a folder.'),
        ('file/sub', True, '--out {}: cannot be written (not a directory). Choose a folder in a place that'),
        ('file/sub/x.png', False, '--out {}: cannot be written (not a directory). Choose a file in a place that'),
        ('folder', False, '--out {}: a folder; expected a file.'),
        (300 * 'x', True, '--out {}: cannot be written (file name too long).'),
    ],
)
def test_what_cannot_be_written(tmp_path, path, folder, message):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ValueError, match=re.escape(message.format(tmp_path / path))):
        check_writable(tmp_path / path, folder=folder)


def test_what_can_be_written_is_left_as_it_is(tmp_path):
    (tmp_path / 'there').mkdir()
    for path, folder in (('a/b', True), ('there', True), ('c/d/x.png', False)):
        check_writable(tmp_path / path, folder=folder)
    assert [file.name for file in tmp_path.rglob('*')] == ['there']
    for path in ('/proc/zz', '', ' '):
        with pytest.raises(ValueError, match=r'--out /proc/zz: cannot be written|--out: an empty path'):
            check_writable(path)
