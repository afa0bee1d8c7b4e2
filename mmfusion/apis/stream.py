"""Fusing the latest pair of two cameras or streams, again and again."""

import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmfusion.utils import frame_values
from mmfusion.utils.decoding import quiet_opencv
from mmfusion.utils.log import log_warning

from .video import CODECS, DEFAULT_FPS, Frames, named_frames, video_writer

# A source that gives no frame for so many seconds is opened again, and given up after as many more.
PATIENCE = 10.0

# Takes an image and the seconds since the first; gives False to end.
_Sink = AbstractContextManager[Callable[[np.ndarray, float], bool | None]]


def is_live(source: str | Path) -> bool:
    """Tell a camera's number (``0``) or an address (``rtsp://…``) from a path."""
    return str(source).isdecimal() or '://' in str(source)


@dataclass
class StreamSummary:
    """What came of a stream.

    Attributes:
        frames: Fused frames.
        seconds: From the first to the last of them.
        late: Visible frames that had no infrared one within the permitted difference of time.
    """

    frames: int = 0
    seconds: float = 0.0
    late: int = 0

    @property
    def rate(self) -> float:
        """Fused frames a second."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else 0.0

    def __str__(self) -> str:
        text = f'{self.frames} frames, {self.rate:.1f} frames a second'
        return text + (f', {self.late} without an infrared frame of their time' if self.late else '')


class LatestFrame:
    """Read a source in the background, and keep its latest frame only.

    Args:
        source: A camera's number, an address, or a video or a folder of frames, which is played at its own rate.
        infrared: Give H×W.
        news: Notified of each frame.
        **reading: See :class:`~mmfusion.apis.video.Frames`.

    Raises:
        ValueError: If the source cannot be opened.
    """

    def __init__(self, source: str | Path, infrared: bool, news: threading.Condition, **reading) -> None:
        self.source, self.infrared, self.news, self.reading = str(source), infrared, news, reading
        self.index, self.time, self.frame, self.ended, self.error = -1, -math.inf, None, False, None
        self._stop = threading.Event()
        self._frames = None if is_live(source) else Frames(source, infrared, **reading)
        self._capture = self._open() if self._frames is None else None
        self._thread = threading.Thread(target=self._run, name=f'reads {source}', daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, and close the source."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2)

    @property
    def name(self) -> str:
        """What the latest frame is called in messages."""
        return f'frame {self.index} of {self.source}'

    def _open(self) -> cv2.VideoCapture:
        with quiet_opencv():
            if self.source.isdecimal():
                capture = cv2.VideoCapture(int(self.source))
            else:
                limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
                capture = cv2.VideoCapture(
                    self.source, cv2.CAP_FFMPEG, [value for key in limits for value in (key, int(1000 * PATIENCE))]
                )
        if not capture.isOpened():
            capture.release()
            what = 'camera' if self.source.isdecimal() else 'stream'
            raise ValueError(
                f'{self.source}: this {what} cannot be opened. Check its number or address, that it is on, and that no '
                'other program holds it.'
            )
        return capture

    def _run(self) -> None:
        try:
            for frame in self._played() if self._frames is not None else self._captured():
                with self.news:
                    self.index, self.time, self.frame = self.index + 1, time.monotonic(), frame
                    self.news.notify_all()
                if self._stop.is_set():
                    break
        except Exception as e:  # of the thread: raised where frames are taken
            self.error = e
        finally:
            if self._capture is not None:
                self._capture.release()
            with self.news:
                self.ended = True
                self.news.notify_all()

    def _played(self) -> Iterator[np.ndarray]:
        """Frames of a file at the time that they have in it."""
        start = time.monotonic()
        for at, frame in self._frames.timed():
            if self._stop.wait(max(0.0, start + at - time.monotonic())):
                return
            yield frame

    def _captured(self) -> Iterator[np.ndarray]:
        """Frames of a camera or stream, opened again once it gives none."""
        colormap, since = self.reading.get('ir_colormap'), None
        while not self._stop.is_set():
            frame = self._capture.read()[1]
            if frame is not None:
                since = None
                yield frame_values(frame, self.source, colormap) if self.infrared else frame
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise ValueError(f'{self.source}: gives no frame for {PATIENCE:g} seconds.')
            self._capture.release()
            if self._stop.wait(0.5):
                return
            try:
                self._capture = self._open()
            except ValueError as e:
                log_warning(f'{e} Trying again.')


def fuse_stream(
    inferencer: Callable,
    vi: str | Path,
    ir: str | Path,
    out: str | Path | None = None,
    window: bool = False,
    fps: float | None = None,
    max_frames: int | None = None,
    max_gap: float = 0.5,
    report_every: float = 5.0,
    say: Callable[[str], object] | None = None,
) -> StreamSummary:
    """Fuse the latest pair of two sources until one ends.

    Both are read side by side in the background; frames that come while a pair is being fused are passed over, so that what
    is shown is never old. Memory does not grow with time.

    Args:
        inferencer: As :func:`~mmfusion.apis.video.fuse_video` takes it.
        vi, ir: Cameras by number, addresses (``rtsp://…``), or videos and folders of frames, which are played in real time.
        out: Video to write (.mp4, .avi, .mkv), with the time of the sources; or an address (``udp://``, ``rtsp://``,
            ``rtmp://``) to which the program ``ffmpeg`` sends it.
        window: Show the fused frames; the key q ends.
        fps: Frames a second of ``out``; default: 25.
        max_frames: End after so many fused frames.
        max_gap: Seconds that the two frames of a pair may lie apart.
        report_every: Seconds between two lines of the log.
        say: Gets these lines; default: the log.

    Raises:
        ValueError: If a source or the output cannot be opened, or frames do not belong together.
    """
    if out is None and not window:
        raise ValueError(
            'nothing to do with the fused frames: give out (--out FILE or address) or window=True (--window).'
        )
    say = say or (lambda text: print_log(text, 'current'))
    news, summary = threading.Condition(), StreamSummary()
    reading = getattr(inferencer, 'reading', {})
    sources = [LatestFrame(vi, False, news, **reading), LatestFrame(ir, True, news, **reading)]
    with ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in _sinks(out, window, fps or DEFAULT_FPS)]
        for source in sources:
            stack.callback(source.stop)
            source.start()
        first = told = None
        try:
            for pair, names in _latest_pairs(sources, news, max_gap, summary):
                with named_frames([names]):
                    image = inferencer([pair[0]], [pair[1]], batch_size=1)[0]
                now = time.monotonic()
                first, told = (now, now) if first is None else (first, told)
                summary.frames, summary.seconds = summary.frames + 1, now - first
                ended = [sink(image, now - first) is False for sink in sinks]
                if now - told >= report_every:
                    say(str(summary))
                    told = now
                if any(ended) or summary.frames == max_frames:
                    break
        except KeyboardInterrupt:
            pass  # the user ends a stream by Ctrl-C; what was written is kept
    if not summary.frames:
        raise ValueError(
            f'{vi} and {ir}: no two frames within {max_gap:g} seconds of each other. Check both, or raise max_gap '
            '(--max-gap).'
        )
    return summary


def _latest_pairs(
    sources: Sequence[LatestFrame], news: threading.Condition, max_gap: float, summary: StreamSummary
) -> Iterator[tuple]:
    """Wait for the latest frames of both sources, each visible one once."""
    last = -1
    while True:
        with news:
            news.wait_for(lambda last=last: any(s.ended for s in sources) or sources[0].index > last, timeout=1.0)
            for source in sources:
                if source.error:
                    raise source.error
            visible, infrared = sources
            if visible.index == last or infrared.frame is None:
                if any(source.ended for source in sources):
                    return
                if visible.index > last:  # the first infrared frame is still to come
                    news.wait(0.1)
                continue
            if infrared.ended and infrared.time < visible.time - max_gap:
                return
            last, gap = visible.index, abs(visible.time - infrared.time)
            pair, names = (visible.frame, infrared.frame), (visible.name, infrared.name)
        if gap > max_gap:
            summary.late += 1
            continue
        yield pair, names


def _sinks(out: str | Path | None, window: bool, fps: float) -> Iterator[_Sink]:
    """Make sinks: functions (image, seconds since the first) → False to end."""
    if out is not None and '://' in str(out):
        yield _sender(str(out), fps)
    elif out is not None:
        if Path(out).suffix.lower() not in CODECS:
            raise ValueError(
                f'{out}: a video ends in one of {", ".join(CODECS)}; an address begins with udp://, rtsp://…'
            )
        yield _paced(video_writer(Path(out), fps), fps)
    if window:
        yield _window()


@contextmanager
def _paced(
    writer: AbstractContextManager[Callable[[np.ndarray], None]], fps: float
) -> Iterator[Callable[[np.ndarray, float], bool | None]]:
    """Write frames of any time at a fixed rate, repeated or dropped."""
    with writer as write:
        written = 0

        def sink(image: np.ndarray, seconds: float):
            nonlocal written
            while written <= seconds * fps:
                write(image)
                written += 1

        yield sink


@contextmanager
def _window() -> Iterator[Callable[[np.ndarray, float], bool | None]]:
    """Show frames in a window, until q or Esc is pressed."""
    if sys.platform.startswith('linux') and not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise ValueError('--window: no screen here (DISPLAY is not set); write to a file or an address by --out.')
    title = 'mmfusion'

    def sink(image: np.ndarray, seconds: float):
        cv2.imshow(title, image)
        return cv2.waitKey(1) & 0xFF not in (ord('q'), 27)

    try:
        yield sink
    finally:
        cv2.destroyAllWindows()


@contextmanager
def _sender(address: str, fps: float) -> Iterator[Callable[[np.ndarray, float], bool | None]]:
    """Send frames to an address by the program ffmpeg."""
    program = shutil.which('ffmpeg')
    if program is None:
        raise ValueError(
            f'{address}: the program ffmpeg, which sends streams, is not installed; write to a file instead.'
        )
    process = None

    def start(image: np.ndarray):
        height, width = image.shape[:2]
        kind = {'rtsp': 'rtsp', 'rtmp': 'flv'}.get(address.partition('://')[0], 'mpegts')
        source = ['-f', 'rawvideo', '-pix_fmt', 'bgr24', '-s', f'{width}x{height}', '-r', f'{fps:g}', '-i', '-']
        coding = '-pix_fmt yuv420p -vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -preset ultrafast -tune zerolatency'
        command = [program, '-loglevel', 'error', *source, *coding.split(), '-f', kind, address]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    def sink(image: np.ndarray, seconds: float):
        nonlocal process, written
        process = process or start(image)
        data = np.ascontiguousarray(image).tobytes()
        try:
            while written <= seconds * fps:
                process.stdin.write(data)
                written += 1
        except BrokenPipeError as e:
            raise ValueError(f'{address}: ffmpeg has ended; its message above says why.') from e

    written = 0
    try:
        yield sink
    finally:
        if process is not None:
            process.stdin.close()
            process.wait(timeout=PATIENCE)
