"""Progress: a bar on a terminal, and few lines in logs."""

import io
import sys

import pytest

from mmfusion.utils import follow, progress, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('seconds', [30, 0])
def test_a_log_gets_lines(monkeypatch, seconds):
    """None from short work; otherwise one at a time, each in a line, without a carriage return."""
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    monkeypatch.setattr(progress, '_SECONDS', seconds)
    assert list(track(range(3), 'fusing', 'pair')) == [0, 1, 2]
    text = sys.stderr.getvalue()
    assert '\r' not in text
    lines = text.splitlines()
    if seconds:
        assert lines == []
    else:
        assert lines[-1].startswith('fusing: 3 of 3 pairs, 00:00 passed, 00:00 left')
        assert text.endswith('\n')


def test_what_is_quick_gets_no_bar(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    with track(desc='evaluating', unit='image'):
        pass
    assert sys.stderr.getvalue() == ''


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    monkeypatch.setattr(progress, '_DELAY', 0)
    with track(desc='evaluating', unit='image') as bar:
        move = follow(bar)
        move(1, 4, 'A 01')
        move(4, 4, 'B 02')
    text = sys.stderr.getvalue()
    assert '\r' in text
    assert '4/4' in text
    assert 'B 02' in text
    monkeypatch.setattr(sys, 'stderr', Terminal())
    assert list(track(range(3), show=False)) == [0, 1, 2]
    assert sys.stderr.getvalue() == ''
