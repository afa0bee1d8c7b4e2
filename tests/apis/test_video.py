"""Videos and folders of frames in, a video out."""

import cv2
import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.apis.video import Frames, fuse_video
from mmfusion.utils import write_image

SIZE = (48, 64)


def average(vi, ir, batch_size):
    """An inferencer that averages, and notes the sizes of its batches."""
    average.batches.append(batch_size)
    return [((v.astype(int) + i[..., None]) // 2).astype(np.uint8) for v, i in zip(vi, ir, strict=True)]


@pytest.fixture(autouse=True)
def _fresh():
    average.batches = []


def scene(k, ir=False):
    """A bright square that moves; smooth, so that a codec keeps it."""
    image = np.full((*SIZE, 3), 60 if ir else 100, np.uint8)
    image[10:30, 5 + 4 * k : 25 + 4 * k] = 200
    return image


@pytest.fixture
def sources(tmp_path):
    """Two videos of five frames at 10 frames a second, and the same as folders."""
    for name in ('vi', 'ir'):
        writer = cv2.VideoWriter(str(tmp_path / f'{name}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, SIZE[::-1])
        for k in range(5):
            writer.write(scene(k, name == 'ir'))
            write_image(tmp_path / name / f'{k:03d}.png', scene(k, name == 'ir'))
        writer.release()
    return tmp_path


@pytest.mark.parametrize('kind', ['', '.avi'])
def test_every_frame_in_order(sources, kind):
    """Frames of the result are those of the pairs, in order and at the sources' rate; the last batch is smaller."""
    out = sources / 'sub' / 'fused.avi'
    count = fuse_video(average, sources / f'vi{kind}', sources / f'ir{kind}', out, batch_size=2, show_progress=False)
    assert count == 5
    assert average.batches == [2, 2, 1]
    frames = Frames(out)
    assert len(frames) == 5
    assert frames.fps == pytest.approx(10 if kind else 25)
    for k, frame in enumerate(frames):
        expected = (scene(k).astype(int) + scene(k, ir=True)) // 2
        assert np.abs(frame - expected).mean() < 3
    assert [f.name for f in out.parent.iterdir()] == ['fused.avi']


def test_infrared_frames_are_grey(sources):
    assert next(iter(Frames(sources / 'ir.avi', infrared=True))).shape == SIZE
    assert next(iter(Frames(sources / 'ir', infrared=True))).shape == SIZE


def test_nothing_is_left_of_a_failed_run(sources):
    def failing(vi, ir, batch_size):
        if len(average.batches) == 3:
            raise RuntimeError('out of memory')
        return average(vi, ir, batch_size)

    with pytest.raises(RuntimeError, match='out of memory'):
        fuse_video(failing, sources / 'vi', sources / 'ir', sources / 'out' / 'fused.avi', show_progress=False)
    assert list((sources / 'out').iterdir()) == []


def test_errors(sources):
    with pytest.raises(FileNotFoundError, match=r'none.mp4: no such video or folder'):
        Frames(sources / 'none.mp4')
    (sources / 'broken.avi').write_bytes(b'no video')
    with pytest.raises(ValueError, match='OpenCV does not read this as a video'):
        Frames(sources / 'broken.avi')
    (sources / 'ir' / '004.png').unlink()
    with pytest.raises(ValueError, match=r'has 5 frames and .* 4: frames are paired by their order'):
        fuse_video(average, sources / 'vi', sources / 'ir', sources / 'a.avi', show_progress=False)
    with pytest.raises(ValueError, match=r'a video ends in one of \.mp4, \.avi, \.mkv'):
        fuse_video(average, sources / 'vi', sources / 'ir', sources / 'a.gif', show_progress=False)
    write_image(sources / 'ir' / '004.png', scene(4, ir=True))

    def growing(vi, ir, batch_size):
        average.batches.append(1)
        return [np.zeros((48 + 2 * len(average.batches), 64, 3), np.uint8)]

    with pytest.raises(ValueError, match='frames of two sizes'):
        fuse_video(growing, sources / 'vi', sources / 'ir', sources / 'a.avi', show_progress=False)


def test_the_demo_from_the_command_line(sources, capsys, load_tool):
    """Frames of a random narrow OCCO equal those that the inferencer gives for the files."""
    demo = load_tool('demo/video_demo.py')
    out = sources / 'fused.avi'
    args = [str(sources / 'vi'), str(sources / 'ir'), 'occo_fmb', 'random', '--device', 'cpu', '--fps', '5']
    assert demo.main([*args, '--out', str(out), '--cfg-options', 'model.network.channels=(4,4,4,4)']) == 0
    assert f'{out}: 5 frames' in capsys.readouterr().out
    options = {'model.network.channels': (4, 4, 4, 4)}
    inferencer = FusionInferencer('occo_fmb', 'random', 'cpu', options, show_progress=False)
    expected = inferencer(sources / 'vi', sources / 'ir')
    frames = Frames(out)
    assert frames.fps == 5
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.astype(int) - image).mean() < 8  # what the codec loses
    assert demo.main([str(sources / 'none'), str(sources / 'ir'), 'occo_fmb', 'random', '--out', str(out)]) == 1
    assert 'no such video or folder' in capsys.readouterr().err
