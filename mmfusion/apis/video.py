"""Fusing videos, or folders of frames, into a video."""

import logging
import math
import re
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import cv2
from mmcv import VideoReader
from mmengine.logging import print_log

from mmfusion.datasets.transforms.loading import stack_pair
from mmfusion.utils import (
    IMG_SUFFIXES,
    list_images,
    pair_images,
    read_four_channels,
    read_infrared,
    read_visible,
    refuse_overwriting,
    track,
)
from mmfusion.utils.image_io import other_files

# OpenCV's writers hold no higher rate, and say so as if they had no codec.
_MOST_FPS = 1000
CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v'}


class Frames:
    """Frames of a video file, or of a folder of images in the natural order of their names.

    Args:
        source (str | Path): File or folder.
        infrared (bool): Give H×W instead of H×W×3; a video has three channels that are equal but for its compression.
        depth16 (str): How images of more than 8 bits become 8, as in :func:`mmfusion.utils.read_visible`.
        four (bool): Whether images have the four channels R, G, B and thermal, of which either is given.

    Attributes:
        fps (float | None): Frames a second; None for a folder.
        files (list[Path] | None): Images of a folder; None for a video.

    Raises:
        FileNotFoundError: No such file or folder, or a folder without images.
        ValueError: The file is no video that OpenCV reads.
    """

    def __init__(self, source, infrared=False, depth16='full', four=False):
        self.source, self.infrared, self.depth16, self.four = Path(source), infrared, depth16, four
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

    def _open(self):
        return VideoReader(str(self.source))

    def __len__(self):
        """Number of frames; of a video as its header says, 0 where it does not."""
        return self._length

    def __iter__(self):
        """The frames, B, G, R uint8, or grey."""
        if self.files is not None:
            yield from map(self._read, self.files)
            return
        # Straight through: VideoReader's own iteration seeks wherever a video of variable rate counts its frames otherwise.
        video = self._open()
        while (frame := video.vcap.read()[1]) is not None:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if self.infrared else frame

    def _read(self, file):
        if self.four:
            pair = read_four_channels(file, self.depth16)
            return pair[..., 3] if self.infrared else pair[..., :3]
        return (read_infrared if self.infrared else read_visible)(file, self.depth16)

    def name(self, index):
        """What a frame is called in messages."""
        return str(self.files[index]) if self.files is not None else f'frame {index} of {self.source}'


def pair_frames(vi, ir=None, by_order=False, depth16='full'):
    """Pair the frames of two folders by name, those of videos by order.

    Args:
        vi, ir (str | Path): Videos, or folders of frames; without ``ir``, a folder of frames of four channels.
        by_order (bool): Pair by order, whatever the names of frames or the rates of the videos.
        depth16 (str): See :class:`Frames`.

    Returns:
        tuple[Frames, Frames]: Of one length, as far as it is known before reading.

    Raises:
        ValueError: If names or lengths differ, or rates by more than 1 %.
        FileNotFoundError: If there is no such video or folder, or a folder holds no image.
    """
    if ir is None:
        if Path(vi).is_file():
            raise ValueError(f'{vi}: a file; expected a folder of frames of four channels, which no video has.')
        return Frames(vi, depth16=depth16, four=True), Frames(vi, infrared=True, depth16=depth16, four=True)
    frames = Frames(vi, depth16=depth16), Frames(ir, infrared=True, depth16=depth16)
    if Path(vi).samefile(ir):
        raise ValueError(f'{vi}: given as the visible and as the infrared frames; expected two.')
    advice = 'To pair them by their order all the same, set by_order=True (--by-order)'
    lengths = [len(f) for f in frames]
    if not by_order and None not in (frames[0].files, frames[1].files):
        try:
            pairs = pair_images(vi, ir)
        except ValueError as e:
            raise ValueError(f'{e}' + (f' {advice}.' if lengths[0] == lengths[1] else '')) from e
        for k, f in enumerate(frames, 1):
            f.files = [pair[k] for pair in pairs]
        return frames
    if 0 not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            f'{vi} has {lengths[0]} frames and {ir} {lengths[1]}: frames are paired by their order. Cut both to the '
            'same time first.'
        )
    rates = [f.fps for f in frames]
    if not by_order and None not in rates and not math.isclose(*rates, rel_tol=0.01):
        raise ValueError(
            f'{vi} has {rates[0]:g} frames a second and {ir} {rates[1]:g}: frames of one number are of two times. '
            f'Bring both to one rate first. {advice}.'
        )
    return frames


def check_video(out, fps=None):
    """Refuse a video that cannot be written; see :func:`fuse_video`.

    Raises:
        ValueError: If the suffix is unknown, or ``fps`` no rate of a video.
    """
    if Path(out).suffix.lower() not in CODECS:
        raise ValueError(f'{out}: a video ends in one of {", ".join(CODECS)}')
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise ValueError(f'fps must be above 0 and at most {_MOST_FPS}, got {fps}')


def fuse_video(inferencer, vi, ir, out, fps=None, batch_size=1, show_progress=True, by_order=False):
    """Fuse two videos, frame by frame.

    Args:
        inferencer (FusionInferencer): Gives a list of images for two lists of arrays; with a task, annotated ones. Its
            ``depth16`` holds for folders of deep frames.
        vi, ir (str | Path): Videos of the same scene, or folders of frames; registered, and of one length. With ``ir=None``
            a folder of frames of four channels: R, G, B and thermal.
        out (str | Path): Video to write (.mp4, .avi, .mkv); under a temporary name until it is complete. Its size is even:
            the border of an odd one is repeated once, which the log says.
        fps (float, optional): Default: that of ``vi``, of ``ir``, or 25 for two folders.
        batch_size (int): Frames that go to the model together.
        show_progress (bool): Whether to draw a progress bar.
        by_order (bool): See :func:`pair_frames`.

    Returns:
        int: Number of frames written.

    Raises:
        ValueError: Unknown suffix, unpaired frames, frames of two sizes, or a codec that this OpenCV lacks.
        FileNotFoundError: No such video.
    """
    out = Path(out)
    check_video(out, fps)
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1, got {batch_size}')
    frames = pair_frames(vi, ir, by_order, getattr(inferencer, 'depth16', 'full'))
    refuse_overwriting(out, vi, ir)
    count = 0
    with (
        _writer(out, fps or frames[0].fps or frames[1].fps or 25.0) as write,
        track(None, 'fusing', 'frame', len(frames[0]) or None, show_progress) as bar,
    ):
        for batch in _batches(_together(frames), batch_size):
            with _named(frames[0], count):
                images = inferencer([v for v, _ in batch], [i for _, i in batch], batch_size=len(batch))
            for image in images:
                write(image)
            count += len(images)
            bar.update(len(images))
        if count == 0:
            raise ValueError(f'{vi}: no frame could be read')
    if len(frames[0]) > count:
        print_log(
            f'{vi} and {ir}: {count} of {len(frames[0])} frames could be read; are the files complete?',
            'current',
            logging.WARNING,
        )
    return count


@contextmanager
def _named(frames, start):
    """Name the frame in errors of an inferencer, which knows the place in its batch: ``pair 0``."""
    try:
        yield
    except (ValueError, RuntimeError) as e:
        text = re.sub(r'\bpair (\d+)', lambda found: frames.name(start + int(found[1])), str(e))
        kind = ValueError if isinstance(e, ValueError) else RuntimeError
        raise kind(text if text != str(e) else f'{frames.name(start)}: {text}') from e


def _together(frames):
    """Frames of both, refused where they do not belong together."""
    for index, (v, i) in enumerate(zip_longest(*frames)):
        if v is None or i is None:
            ended, other = frames if v is None else frames[::-1]
            raise ValueError(
                f'{ended.source} ends after {index} frames, and {other.source} goes on. Cut both to the same time first.'
            )
        stack_pair(v, i, frames[0].name(index), frames[1].name(index))  # for its message, which names both
        yield v, i


def _batches(items, size):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _writer(out, fps):
    """A function that appends frames to a video, which gets its name when all were written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f'.{out.stem}.unfinished{out.suffix}')
    state = dict(writer=None, size=None)

    def write(image):
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            # OpenCV's codecs would drop the last row or column.
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if state['writer'] is None:
                print_log(
                    f'{out}: videos have even sizes: frames of {width}×{height} are written as '
                    f'{image.shape[1]}×{image.shape[0]}, their border repeated.',
                    'current',
                    logging.WARNING,
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
            raise ValueError(f'{out}: frames of two sizes, {state["size"]} and {(height, width)} (height, width)')
        state['writer'].write(image)

    try:
        yield write
        if state['writer'] is not None:
            state['writer'].release()
            unfinished.replace(out)
    finally:
        if state['writer'] is not None:
            state['writer'].release()
        unfinished.unlink(missing_ok=True)
