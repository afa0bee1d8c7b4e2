"""Fusing videos, or folders of frames, into a video."""

import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice, zip_longest
from pathlib import Path

import cv2
import numpy as np
from mmcv import VideoReader

from mmfusion.datasets.transforms.loading import refuse_two_sizes
from mmfusion.utils import (
    IMG_SUFFIXES,
    WriteError,
    check_reading,
    four_values,
    frame_values,
    infrared_values,
    list_images,
    pair_images,
    read_visible,
    refuse_equal,
    refuse_overwriting,
    track,
    values_reading,
    visible_array,
    write_bytes,
)
from mmfusion.utils.log import log_warning
from mmfusion.utils.pairing import other_files

# OpenCV's writers hold no higher rate, and say so as if they had no codec.
_MOST_FPS = 1000
# Of folders of frames, of which nobody says it.
DEFAULT_FPS = 25.0
_GRAY16 = int.from_bytes(b'Y1\0\x10', 'little')
CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v'}

# A visible and an infrared frame, and their names.
_Pair = tuple[np.ndarray, np.ndarray, tuple[str, str]]


class Frames:
    """Frames of a video file, or of a folder in natural order.

    Args:
        source: File or folder.
        infrared: Give H×W instead of H×W×3; a video has three channels that are equal but for its compression.
        four: Whether images have the four channels R, G, B and thermal, of which either is given.
        **reading: How images become 8 bits; see :func:`mmfusion.utils.check_reading`. Infrared frames keep their depth: the
            inferencer, which has the same options, brings them to 8 bits.

    Attributes:
        fps (float | None): Frames a second; None for a folder, unless it is set.
        files (list[Path] | None): Images of a folder; None for a video.

    Raises:
        FileNotFoundError: If there is no such file or folder, or the folder holds no image.
        ValueError: If the file is no video that OpenCV reads.
    """

    def __init__(self, source: str | Path, infrared: bool = False, four: bool = False, **reading) -> None:
        self.source, self.infrared, self.four = Path(source), infrared, four
        self.reading = check_reading(**reading)
        self.fps, self.files = None, None
        if self.source.is_dir():
            self.files = list(list_images(self.source).values())
            if not self.files:
                raise FileNotFoundError(f'{source}: no image in this folder{other_files(source)}; expected frames')
            self._length = len(self.files)
            return
        if not self.source.is_file() and ('://' in str(source) or str(source).isdecimal()):
            raise ValueError(
                f'{source}: a camera or a stream; expected a video file or a folder of frames. Record it first.'
            )
        if not self.source.is_file():
            raise FileNotFoundError(f'{source}: no such video or folder of frames')
        if self.source.suffix.lower() in IMG_SUFFIXES:
            raise ValueError(
                f'{source}: an image; expected a video or a folder of frames. One pair is fused by demo/image_demo.py.'
            )
        video = self._open()
        self.fps, self._length = video.fps, max(video.frame_cnt, 0)
        if not video.opened or not self.fps > 0:
            raise ValueError(f'{source}: OpenCV does not read this as a video. Give a folder of frames instead.')

    def _open(self) -> VideoReader:
        check_name(self.source)
        video = VideoReader(str(self.source))
        if self.infrared and int(video.vcap.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) == _GRAY16:
            video.vcap.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # or OpenCV keeps the upper 8 bits
        return video

    def __len__(self) -> int:
        """Number of frames, as a video's header says; 0 without."""
        return self._length

    def __iter__(self) -> Iterator[np.ndarray]:
        """Give H×W×3 uint8 (B, G, R), or infrared H×W of any depth."""
        yield from (frame for _, frame in self.timed())

    def timed(self) -> Iterator[tuple[float, np.ndarray]]:
        """Give frames and seconds, as a video says or by :attr:`fps`."""
        if self.files is not None:
            yield from ((k / (self.fps or DEFAULT_FPS), self._read(file)) for k, file in enumerate(self.files))
            return
        # Straight through: VideoReader's own iteration seeks wherever a video of variable rate counts its frames otherwise.
        video, colormap, last = self._open(), self.reading.get('ir_colormap'), -1.0
        for k in count():
            if (frame := video.vcap.read()[1]) is None:
                return
            time = video.vcap.get(cv2.CAP_PROP_POS_MSEC) / 1000
            last = time if time > last else max(last, k / self.fps)  # some containers tell no times
            yield last, frame_values(frame, str(self.source), colormap) if self.infrared else frame

    def sample(self, most: int = 100) -> list[Path] | list[np.ndarray]:
        """Some frames, evenly spread, as :func:`mmfusion.utils.sequence_range` takes them."""
        step = max(1, math.ceil(len(self) / most))
        if self.files is not None:
            return self.files[::step]
        return [frame for k, frame in enumerate(self) if k % step == 0]

    def _read(self, file: Path) -> np.ndarray:
        if self.four:
            pair = four_values(file)
            return pair[..., 3] if self.infrared else visible_array(pair[..., :3], file, self.reading['depth16'])
        if self.infrared:
            return infrared_values(file, **values_reading(self.reading))
        return read_visible(file, self.reading['depth16'])

    def name(self, index: int) -> str:
        """What a frame is called in messages."""
        return str(self.files[index]) if self.files is not None else f'frame {index} of {self.source}'


def pair_frames(
    vi: str | Path,
    ir: str | Path | None = None,
    by_order: bool = False,
    by_time: bool = False,
    vi_pattern: str | None = None,
    ir_pattern: str | None = None,
    **reading,
) -> tuple[Frames, Frames]:
    """Pair frames of folders by name, of videos by order or time.

    Args:
        vi, ir: Videos, or folders of frames; without ``ir``, a folder of frames of four channels.
        by_order: Pair by order, whatever the names of frames or the rates of the videos.
        by_time: Pair by time, whatever the rates and the lengths: each visible frame has the nearest infrared one.
        vi_pattern, ir_pattern: How names of frames pair; see :func:`mmfusion.utils.pair_images`.
        **reading: See :class:`Frames`.

    Raises:
        ValueError: If names or lengths differ, or rates by more than 1 %.
        FileNotFoundError: If there is no such video or folder, or a folder holds no image.
    """
    if ir is None:
        if Path(vi).is_file():
            raise ValueError(f'{vi}: a file; expected a folder of frames of four channels, which no video has.')
        return Frames(vi, four=True, **reading), Frames(vi, infrared=True, four=True, **reading)
    frames = Frames(vi, **reading), Frames(ir, infrared=True, **reading)
    videos = [f.source for f in frames if f.files is None]
    if videos and (vi_pattern or ir_pattern):
        raise ValueError(
            f'{videos[0]}: a video, whose frames have no names: vi_pattern and ir_pattern (--vi-pattern, --ir-pattern) say '
            'how frames of two folders pair. Leave them out.'
        )
    if vi_pattern == ir_pattern and Path(vi).samefile(ir):
        raise ValueError(f'{vi}: given as the visible and as the infrared frames; expected two.')
    if by_order and by_time:
        raise ValueError('by_order and by_time (--by-order, --by-time): choose one.')
    advice = 'To pair them by their order all the same, set by_order=True (--by-order)'
    by_clock = 'To pair each visible frame with the nearest infrared one, set by_time=True (--by-time)'
    lengths = [len(f) for f in frames]
    if by_time:
        return frames
    if not by_order and None not in (frames[0].files, frames[1].files):
        try:
            pairs = pair_images(vi, ir, vi_pattern, ir_pattern)
        except ValueError as e:
            raise ValueError(f'{e}' + (f' {advice}.' if lengths[0] == lengths[1] else '')) from e
        for k, f in enumerate(frames, 1):
            f.files = [pair[k] for pair in pairs]
        return frames
    if 0 not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            f'{vi} has {lengths[0]} frames and {ir} {lengths[1]}: frames are paired by their order. Cut both to the '
            f'same time first. {by_clock}.'
        )
    rates = [f.fps for f in frames]
    if not by_order and None not in rates and not math.isclose(*rates, rel_tol=0.01):
        raise ValueError(
            f'{vi} has {rates[0]:g} frames a second and {ir} {rates[1]:g}: frames of one number are of two times. '
            f'Bring both to one rate first. {by_clock}. {advice}.'
        )
    return frames


def check_video(out: str | Path, fps: float | None = None) -> None:
    """Refuse a video that cannot be written; see :func:`fuse_video`.

    Raises:
        ValueError: If the suffix is unknown, or ``fps`` no rate of a video.
    """
    if Path(out).suffix.lower() not in CODECS:
        raise ValueError(f'{out}: a video ends in one of {", ".join(CODECS)}')
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise ValueError(f'fps must be above 0 and at most {_MOST_FPS}, got {fps}')


def fuse_video(
    inferencer: Callable[..., list[np.ndarray]],
    vi: str | Path,
    ir: str | Path | None,
    out: str | Path,
    fps: float | None = None,
    batch_size: int = 1,
    show_progress: bool = True,
    by_order: bool = False,
    max_frames: int | None = None,
    **pairing,
) -> int:
    """Fuse two videos, frame by frame, and count the frames written.

    Args:
        inferencer: Gives a list of images for two lists of arrays; with a task, annotated ones. Its options of reading
            hold for the frames.
        vi, ir: Videos of the same scene, or folders of frames; registered, and of one length. With ``ir=None`` a folder
            of frames of four channels: R, G, B and thermal.
        out: Video to write (.mp4, .avi, .mkv); under a temporary name until it is complete. Its size is even: the
            border of an odd one is repeated once, which the log says.
        fps: Default: that of ``vi``, of ``ir``, or 25 for two folders.
        batch_size: Frames that go to the model together.
        show_progress: Whether to draw a progress bar.
        by_order: See :func:`pair_frames`.
        max_frames: End after so many frames.
        **pairing: ``by_time`` and the patterns of :func:`pair_frames`.

    Raises:
        ValueError: If the suffix is unknown, frames do not pair or have two sizes, or this OpenCV lacks the codec.
        FileNotFoundError: If there is no such video.
    """
    out = Path(out)
    check_video(out, fps)
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1, got {batch_size}')
    frames = pair_frames(vi, ir, by_order, **pairing, **getattr(inferencer, 'reading', {}))
    by_time = pairing.get('by_time', False)
    if fps:
        for f in frames:
            f.fps = fps if f.fps is None else f.fps
    refuse_overwriting(out, vi, ir)
    done = 0
    with (
        video_writer(out, fps or frames[0].fps or (None if by_time else frames[1].fps) or DEFAULT_FPS) as write,
        track(None, 'fusing', 'frame', min(len(frames[0]), max_frames or len(frames[0])) or None, show_progress) as bar,
    ):
        pairs = _by_time(frames) if by_time else _together(frames)
        for batch in _batches(islice(pairs, max_frames), batch_size):
            with named_frames([names for *_, names in batch]):
                images = inferencer([v for v, *_ in batch], [i for _, i, _ in batch], batch_size=len(batch))
            for image in images:
                write(image)
            done += len(images)
            bar.update(len(images))
        if done == 0:
            raise ValueError(f'{vi}: no frame could be read')
    if len(frames[0]) > done and done != max_frames:
        if by_time:
            log_warning(
                f'{vi}: {done} of {len(frames[0])} frames are fused; the others come after the end of {ir}, or could not be '
                'read. Are the files complete, and of one time?'
            )
        else:
            log_warning(f'{vi} and {ir}: {done} of {len(frames[0])} frames could be read; are the files complete?')
    return done


@contextmanager
def named_frames(names: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Name frames in an inferencer's errors and warnings.

    It knows their places alone: ``pair 0`` and ``infrared array 0`` become the names of the visible and the infrared frame
    of that pair of the batch.
    """

    def named(text: str) -> str:
        return re.sub(
            r'\b(pair|visible array|infrared array) (\d+)',
            lambda found: names[int(found[2])][found[1] == 'infrared array'],
            text,
        )

    def show(message: Warning | str, category: type[Warning], *place) -> None:
        before(category(named(str(message))), category, *place)

    # Named when it is shown: a warning of all frames is still told once.
    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    except (ValueError, RuntimeError) as e:
        text = named(str(e))
        kind = ValueError if isinstance(e, ValueError) else RuntimeError
        raise kind(text if text != str(e) else f'{names[0][0]}: {text}') from e
    finally:
        warnings.showwarning = before


def _together(frames: tuple[Frames, Frames]) -> Iterator[_Pair]:
    """Frames of both, refused where they do not belong together."""
    for index, (v, i) in enumerate(zip_longest(*frames)):
        if v is None or i is None:
            ended, other = frames if v is None else frames[::-1]
            raise ValueError(
                f'{ended.source} ends after {index} frames, and {other.source} goes on. Cut both to the same time first.'
            )
        names = frames[0].name(index), frames[1].name(index)
        _refuse_pair(v, i, names, frames[1].reading)
        yield v, i, names


def _refuse_pair(vi: np.ndarray, ir: np.ndarray, names: tuple[str, str], reading: Mapping) -> None:
    if reading.get('align'):  # the inferencer warps it
        return
    refuse_two_sizes(vi, ir, *names)
    if ir.dtype == vi.dtype:
        refuse_equal(vi, ir, *names)


def _by_time(frames: tuple[Frames, Frames]) -> Iterator[_Pair]:
    """Pair each visible frame with the infrared one nearest in time."""
    infrared = enumerate(frames[1].timed())
    at, (time, frame) = next(infrared, (0, (0.0, None)))
    following = next(infrared, None)
    for k, (now, visible) in enumerate(frames[0].timed()):
        while following and abs(following[1][0] - now) <= abs(time - now):
            at, (time, frame) = following
            following = next(infrared, None)
        if frame is None or (following is None and now - time > 1.25 / (frames[1].fps or DEFAULT_FPS)):
            return
        names = frames[0].name(k), frames[1].name(at)
        _refuse_pair(visible, frame, names, frames[1].reading)
        yield visible, frame, names


def _batches(items: Iterable[_Pair], size: int) -> Iterator[list[_Pair]]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _refuse_incomplete(unfinished: Path, out: Path) -> None:
    """Notice what OpenCV's writer does not say: that the disk was full."""
    write_bytes(out.with_name(f'.{out.stem}.space'), bytes(2**16))
    out.with_name(f'.{out.stem}.space').unlink()
    video = cv2.VideoCapture(str(unfinished))
    whole = video.isOpened() and video.read()[0]
    video.release()
    if not whole:
        raise WriteError(f'{out}: the video that was written cannot be read. Is the disk full?')


def check_name(file: Path) -> None:
    """Refuse a path at which OpenCV would crash."""
    try:
        str(file).encode()
    except UnicodeEncodeError as e:
        raise ValueError(f'{file}: holds bytes that are no UTF-8, which OpenCV cannot open; rename it.') from e


@contextmanager
def video_writer(out: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Append frames to a video, which gets its name at the end."""
    check_name(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f'.{out.stem}.unfinished{out.suffix}')
    state = dict(writer=None, size=None, frames=0)

    def write(image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            # OpenCV's codecs would drop the last row or column.
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if state['writer'] is None:
                log_warning(
                    f'{out}: videos have even sizes: frames of {width}×{height} are written as '
                    f'{image.shape[1]}×{image.shape[0]}, their border repeated.'
                )
            height, width = image.shape[:2]
        if state['writer'] is None:
            codec = cv2.VideoWriter_fourcc(*CODECS[out.suffix.lower()])
            state.update(writer=cv2.VideoWriter(str(unfinished), codec, fps, (width, height)), size=(height, width))
            if not state['writer'].isOpened():
                raise ValueError(
                    f'{out}: this OpenCV cannot write frames of {width}×{height}, {fps:g} a second, as {out.suffix}. Choose '
                    f'another of {", ".join(CODECS)}, or a usual rate (fps=25, --fps 25).'
                )
        if state['size'] != (height, width):
            # OpenCV drops such frames without a word.
            size = state['size'][::-1]
            raise ValueError(
                f'{out}: frames of two sizes: frame {state["frames"]} is {width}×{height}, those before it '
                f'{size[0]}×{size[1]} (width×height). Bring all of them to one size, or fuse each size by itself.'
            )
        state['writer'].write(image)
        state['frames'] += 1

    try:
        yield write
        if state['writer'] is not None:
            state['writer'].release()
            _refuse_incomplete(unfinished, out)
            unfinished.replace(out)
    finally:
        if state['writer'] is not None:
            state['writer'].release()
        unfinished.unlink(missing_ok=True)
