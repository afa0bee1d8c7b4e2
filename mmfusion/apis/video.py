"""Fusing videos, or folders of frames, into a video."""

from contextlib import contextmanager
from pathlib import Path

import cv2
from tqdm import tqdm

from mmfusion.utils import list_images, read_infrared, read_visible

CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v'}


class Frames:
    """Frames of a video file, or of a folder of images in the order of their names.

    Args:
        source (str | Path): File or folder.
        infrared (bool): Give H×W instead of H×W×3; a video has three channels that are alike but for its compression.

    Attributes:
        fps (float | None): Frames a second; None for a folder.

    Raises:
        FileNotFoundError: No such file or folder, or a folder without images.
        ValueError: The file is no video that OpenCV reads.
    """

    def __init__(self, source, infrared=False):
        self.source, self.infrared = Path(source), infrared
        self.fps, self._files = None, None
        if self.source.is_dir():
            self._files = list(list_images(self.source).values())
            self._length = len(self._files)
            return
        if not self.source.is_file():
            raise FileNotFoundError(f'{source}: no such video or folder of frames')
        video = cv2.VideoCapture(str(source))
        self.fps, self._length = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        opened = video.isOpened()
        video.release()
        if not opened or not self.fps:
            raise ValueError(f'{source}: OpenCV does not read this as a video. Give a folder of frames instead.')

    def __len__(self):
        """Number of frames; of a video as its header says."""
        return self._length

    def __iter__(self):
        """The frames, B, G, R uint8, or grey."""
        if self._files is not None:
            read = read_infrared if self.infrared else read_visible
            yield from (read(file) for file in self._files)
            return
        video = cv2.VideoCapture(str(self.source))
        try:
            while True:
                there, frame = video.read()
                if not there:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if self.infrared else frame
        finally:
            video.release()


def fuse_video(inferencer, vi, ir, out, fps=None, batch_size=1, show_progress=True):
    """Fuse two videos, frame by frame.

    Args:
        inferencer (FusionInferencer): Gives a list of images for two lists of arrays; with a task, annotated ones.
        vi, ir (str | Path): Videos of the same scene, or folders of frames; registered, and of one length.
        out (str | Path): Video to write (.mp4, .avi, .mkv); under a temporary name until it is complete.
        fps (float, optional): Default: that of ``vi``, of ``ir``, or 25 for two folders.
        batch_size (int): Frames that go to the model together.
        show_progress (bool): Whether to draw a progress bar.

    Returns:
        int: Number of frames written.

    Raises:
        ValueError: Unknown suffix, videos of two lengths, frames of two sizes, or a codec that this OpenCV lacks.
        FileNotFoundError: No such video.
    """
    out = Path(out)
    if out.suffix.lower() not in CODECS:
        raise ValueError(f'{out}: a video ends in one of {", ".join(CODECS)}')
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1, got {batch_size}')
    frames = Frames(vi), Frames(ir, infrared=True)
    if len(frames[0]) != len(frames[1]):
        raise ValueError(
            f'{vi} has {len(frames[0])} frames and {ir} {len(frames[1])}: frames are paired by their order. Cut both to the '
            'same time first.'
        )
    count = 0
    with (
        _writer(out, fps or frames[0].fps or frames[1].fps or 25.0) as write,
        tqdm(total=len(frames[0]), desc='fusing', unit='frame', disable=not show_progress) as bar,
    ):
        for batch in _batches(zip(*frames, strict=False), batch_size):
            images = inferencer([v for v, _ in batch], [i for _, i in batch], batch_size=len(batch))
            for image in images:
                write(image)
            count += len(images)
            bar.update(len(images))
        if count == 0:
            raise ValueError(f'{vi}: no frame could be read')
    return count


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
        if state['writer'] is None:
            codec = cv2.VideoWriter_fourcc(*CODECS[out.suffix.lower()])
            state.update(writer=cv2.VideoWriter(str(unfinished), codec, fps, (width, height)), size=(height, width))
            if not state['writer'].isOpened():
                raise ValueError(
                    f'{out}: this OpenCV cannot write {out.suffix}. Choose another of {", ".join(CODECS)}.'
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
