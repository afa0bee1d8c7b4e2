"""Streams: the latest pair of two sources, files as sources, outputs; pairing of videos by time."""

import threading
import time

import cv2
import numpy as np
import pytest

from mmfusion.apis import stream
from mmfusion.apis.stream import LatestFrame, fuse_stream, is_live
from mmfusion.apis.video import Frames, fuse_video
from mmfusion.cli.video import main

SIZE = (32, 48)


def write_video(path, count, fps, start=0):
    """Frames whose brightness tells their number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, SIZE[::-1])
    for k in range(count):
        writer.write(np.full((*SIZE, 3), start + 5 * k, np.uint8))
    writer.release()
    return path


@pytest.fixture
def videos(tmp_path):
    """20 visible frames at 20 a second, 9 infrared ones at 10 a second."""
    return write_video(tmp_path / 'vi.avi', 20, 20), write_video(tmp_path / 'ir.avi', 9, 10)


class Noting:
    """An inferencer that gives the visible frame, and notes the numbers of both."""

    def __init__(self, seconds=0.0):
        self.pairs, self.seconds = [], seconds

    def __call__(self, vi, ir, batch_size):
        time.sleep(self.seconds)
        self.pairs += [(round(v.mean() / 5), round(i.mean() / 5)) for v, i in zip(vi, ir, strict=True)]
        return vi


def test_videos_of_two_rates_pair_by_time(videos, tmp_path):
    noting = Noting()
    with pytest.raises(ValueError, match=r'20 frames and .*ir\.avi 9.* set by_time=True \(--by-time\)'):
        fuse_video(noting, *videos, tmp_path / 'out.avi', show_progress=False)
    count = fuse_video(noting, *videos, tmp_path / 'out.avi', batch_size=4, show_progress=False, by_time=True)
    assert [v for v, _ in noting.pairs] == list(range(19))
    assert all(abs(v / 20 - i / 10) < 0.06 for v, i in noting.pairs[:18])
    assert count == 19  # the last infrared frame holds for the time of one
    assert Frames(tmp_path / 'out.avi').fps == 20


def test_frames_after_the_end_of_the_other_video_are_told(videos, tmp_path, monkeypatch):
    """Pairing by time leaves them out."""
    told = []
    monkeypatch.setattr('mmfusion.apis.video.log_warning', told.append)
    short = write_video(tmp_path / 'short.avi', 3, 10)
    options = dict(show_progress=False, by_time=True)
    assert fuse_video(Noting(), videos[0], short, tmp_path / 'out.avi', **options) == 7
    assert len(told) == 1
    assert '7 of 20 frames are fused' in told[0]
    assert 'short.avi' in told[0]
    fuse_video(Noting(), videos[0], short, tmp_path / 'out.avi', max_frames=5, **options)
    fuse_video(Noting(), videos[0], write_video(tmp_path / 'long.avi', 12, 10), tmp_path / 'out.avi', **options)
    assert len(told) == 1


def test_the_latest_pair_is_fused(videos, tmp_path):
    """A slow model passes frames over; the video's time is that of the sources; memory holds one frame of each."""
    noting = Noting(seconds=0.12)
    summary = fuse_stream(noting, *videos, tmp_path / 'out.avi', fps=20, say=None)
    numbers = [v for v, _ in noting.pairs]
    assert numbers == sorted(set(numbers))
    assert 3 <= summary.frames == len(numbers) < 15
    assert all(abs(v / 20 - i / 10) < 0.45 for v, i in noting.pairs)
    assert len(Frames(tmp_path / 'out.avi')) == pytest.approx(20 * summary.seconds, abs=2)
    assert [f.name for f in tmp_path.glob('*') if 'unfinished' in f.name] == []


def test_frames_of_other_times_are_not_paired(videos, tmp_path, monkeypatch):
    real = LatestFrame._played

    def late(self):
        if self.infrared:
            yield next(real(self))
            self._stop.wait(5)
        else:
            yield from real(self)

    monkeypatch.setattr(LatestFrame, '_played', late)
    lines = []
    summary = fuse_stream(Noting(), *videos, tmp_path / 'out.avi', max_gap=0.2, report_every=0.0, say=lines.append)
    assert summary.late > 5
    assert 'without an infrared frame of their time' in str(summary)
    assert any('frames a second' in line for line in lines)


class Camera:
    """What cv2.VideoCapture gives for a camera that fails once and comes back."""

    opened = 0

    def __init__(self, *_):
        Camera.opened += 1
        self.count = 0

    def isOpened(self):
        return True

    def read(self):
        time.sleep(0.01)
        self.count += 1
        return True, None if Camera.opened <= 2 and self.count == 3 else np.full((*SIZE, 3), 90, np.uint8)

    def release(self):
        pass


def test_cameras_are_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(stream.cv2, 'VideoCapture', Camera)
    before = threading.active_count()
    summary = fuse_stream(Noting(), '0', 'rtsp://camera/thermal', tmp_path / 'out.mp4', max_frames=8)
    assert summary.frames == 8
    assert Camera.opened >= 4
    assert threading.active_count() == before
    monkeypatch.setattr(stream, 'PATIENCE', 0.2)
    monkeypatch.setattr(Camera, 'read', lambda self: (False, None))
    with pytest.raises(ValueError, match=r'gives no frame for 0\.2 seconds'):
        fuse_stream(Noting(), '0', '1', tmp_path / 'out.mp4')


def test_a_stream_is_sent_by_ffmpeg(videos, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ValueError, match='the program ffmpeg, which sends streams, is not installed'):
        fuse_stream(Noting(), *videos, 'udp://127.0.0.1:9')
    program = tmp_path / 'ffmpeg'
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexec /bin/cat > {tmp_path}/bytes\n')
    program.chmod(0o755)
    fuse_stream(Noting(), *videos, 'rtsp://127.0.0.1/fused', fps=10, max_frames=3)
    assert '-s 48x32 -r 10 -i - ' in (tmp_path / 'arguments').read_text()
    assert (tmp_path / 'arguments').read_text().endswith('-f rtsp rtsp://127.0.0.1/fused\n')
    assert (tmp_path / 'bytes').stat().st_size % (SIZE[0] * SIZE[1] * 3) == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--vi', '97', '--ir', '98', '--out', 'a.mp4'], '97: this camera cannot be opened'),
        (['--vi', 'vi.avi', '--ir', 'ir.avi'], '--out: expected a video to write'),
        (['--vi', 'vi.avi', '--ir', 'ir.avi', '--live', '--by-time', '--out', 'a.mp4'], 'are for files'),
        (['--vi', '0', '--ir', '1', '--per-sequence', '--out', 'a.mp4'], 'a stream cannot be read beforehand'),
        (['--vi', 'vi.avi', '--ir', 'ir.avi', '--window'], 'no screen here'),
        (['--vi', 'vi.avi', '--ir', 'ir.avi', '--live', '--out', 'a.gif'], 'a video ends in one of .mp4'),
    ],
)
def test_refusals(videos, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    assert main(['pmgi', 'random', '--device', 'cpu', *arguments]) == 1
    said = capfd.readouterr().err
    assert message in said
    assert 'VIDEOIO' not in said  # OpenCV's own account


def test_the_verb(videos, tmp_path, capsys):
    given = ['pmgi', 'random', '--device', 'cpu', '--vi', str(videos[0]), '--ir', str(videos[1])]
    assert main([*given, '--out', str(tmp_path / 'a.mp4'), '--live', '--max-frames', '2']) == 0
    assert '2 frames, ' in capsys.readouterr().out
    assert [is_live(source) for source in ('0', 'rtsp://a/b', '0.mp4')] == [True, True, False]


def test_deep_videos_keep_their_depth(tmp_path):
    options = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    path, codec = str(tmp_path / 'ir.mkv'), cv2.VideoWriter_fourcc(*'FFV1')
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, codec, 10.0, SIZE[::-1], options)
    frame = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) + 7000).astype(np.uint16)
    writer.write(frame)
    writer.release()
    np.testing.assert_array_equal(next(iter(Frames(path, infrared=True))), frame)
