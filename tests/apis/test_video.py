"""Videos and folders of frames in, a video out."""

import os
import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmfusion.apis import FusionInferencer
from mmfusion.apis.video import Frames, fuse_video, pair_frames
from mmfusion.cli import main
from mmfusion.utils import read_four_channels, read_infrared, write_image

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


def run(folder, vi, ir, out='a.avi', inferencer=average, **kwargs):
    return fuse_video(inferencer, folder / vi, folder / ir, folder / out, show_progress=False, **kwargs)


def write_video(file, count=4, fps=10, size=SIZE):
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'MJPG'), fps, size[::-1])
    for k in range(count):
        writer.write(np.full((*size, 3), 40 + 20 * k, np.uint8))
    writer.release()


def test_frames_in_natural_order(tmp_path):
    """frame2 comes before frame10, and a frame is paired with that of its name."""
    for k in range(1, 13):
        for name in ('vi', 'ir'):
            write_image(tmp_path / name / f'frame{k}.png', np.full(SIZE, 20 * k, np.uint8))
    assert [int(frame[0, 0]) // 20 for frame in Frames(tmp_path / 'ir', infrared=True)] == list(range(1, 13))
    assert run(tmp_path, 'vi', 'ir') == 12
    assert [round(frame.mean() / 20) for frame in Frames(tmp_path / 'a.avi')] == list(range(1, 13))


def test_frames_are_paired_by_name_or_as_asked_by_order(tmp_path):
    for name, numbers in (('vi', (0, 1, 2, 4)), ('ir', (0, 2, 3, 4))):
        for k in numbers:
            write_image(tmp_path / name / f'{k}.png', np.full(SIZE, 20 + 40 * k, np.uint8))
    message = r'vi have no counterpart in .*ir: 1; .*vi: 3\. .*To pair them by their order .*--by-order'
    with pytest.raises(ValueError, match=message):
        run(tmp_path, 'vi', 'ir')
    assert run(tmp_path, 'vi', 'ir', by_order=True) == 4
    assert [round(f.mean()) for f in Frames(tmp_path / 'a.avi')] == pytest.approx([20, 80, 120, 180], abs=2)
    with pytest.raises(ValueError, match='given as the visible and as the infrared'):
        run(tmp_path, 'vi', 'vi')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='empty: no image in this folder'):
        run(tmp_path, 'empty', 'empty')


def test_videos_of_two_rates_or_lengths(tmp_path):
    for name, given in dict(
        a={}, fast=dict(fps=20), ntsc=dict(fps=10.01), long=dict(count=6), one=dict(count=1)
    ).items():
        write_video(tmp_path / f'{name}.avi', **given)
    with pytest.raises(ValueError, match=r'a\.avi has 10 frames a second and .*fast\.avi 20: .*--by-order'):
        run(tmp_path, 'a.avi', 'fast.avi', 'out.avi')
    with pytest.raises(ValueError, match=r'a\.avi has 4 frames and .*long\.avi 6'):
        run(tmp_path, 'a.avi', 'long.avi', 'out.avi')
    with pytest.raises(ValueError, match=r'a\.avi: given as the visible and as the infrared frames'):
        run(tmp_path, 'a.avi', 'a.avi', 'out.avi')
    with pytest.raises(ValueError, match=r'a\.avi: would overwrite its source'):
        run(tmp_path, 'a.avi', 'ntsc.avi')
    assert run(tmp_path, 'a.avi', 'fast.avi', 'out.avi', by_order=True) == 4
    assert run(tmp_path, 'a.avi', 'ntsc.avi', 'out.avi') == 4
    (tmp_path / 'one.avi').replace(tmp_path / 'uno.avi')
    write_video(tmp_path / 'one.avi', count=1)
    assert run(tmp_path, 'one.avi', 'uno.avi', 'out.mp4') == 1
    assert len(list(Frames(tmp_path / 'out.mp4'))) == 1
    write_image(tmp_path / 'x.png', scene(0))
    with pytest.raises(ValueError, match=r'x\.png: an image; expected a video'):
        run(tmp_path, 'x.png', 'x.png', 'out.avi')


def test_a_header_that_counts_wrong(tmp_path, monkeypatch):
    """What was read counts; none of a longer video is dropped without a word."""
    write_video(tmp_path / 'a.avi')
    write_video(tmp_path / 'b.avi', count=3)
    monkeypatch.setattr(Frames, '__len__', lambda self: 4)
    with pytest.raises(ValueError, match=r'b\.avi ends after 3 frames, and .*a\.avi goes on'):
        run(tmp_path, 'a.avi', 'b.avi', 'out.avi')
    assert not (tmp_path / 'out.avi').exists()


def test_a_pair_of_two_sizes_is_named(tmp_path):
    write_video(tmp_path / 'a.avi')
    write_video(tmp_path / 'b.avi', size=(48, 80))
    with pytest.raises(ValueError, match=r'frame 0 of .*a\.avi is 64×48 but frame 0 of .*b\.avi is 80×48'):
        run(tmp_path, 'a.avi', 'b.avi', 'out.avi')


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_deep_frames_are_read_as_the_inferencer_reads_files(tmp_path, dtype):
    base = np.linspace(0, 1, SIZE[0] * SIZE[1]).reshape(SIZE)
    (tmp_path / 'ir').mkdir()
    for k in range(2):
        write_image(tmp_path / 'vi' / f'{k}.png', np.full((*SIZE, 3), 60, np.uint8))
        cv2.imwrite(str(tmp_path / 'ir' / f'{k}.tiff'), (7000 + 1500 * base).astype(dtype))
    model = Config(dict(model=dict(type='ImageFuser', network=dict(type='AverageNetwork'))))
    for reading in (dict(depth16='stretch'), dict(ir_range=(6900, 8000)), dict(ir_range=('10%', '90%'))):
        inferencer = FusionInferencer(model, 'random', 'cpu', show_progress=False, **reading)
        seen, fuse = [], inferencer._fuse_stacked
        inferencer._fuse_stacked = lambda pairs, names, seen=seen, fuse=fuse: seen.extend(pairs) or fuse(pairs, names)
        assert run(tmp_path, 'vi', 'ir', inferencer=inferencer) == 2
        expected = [read_infrared(tmp_path / 'ir' / f'{k}.tiff', **reading) for k in range(2)]
        np.testing.assert_array_equal([pair[..., 3] for pair in seen], expected)
        assert np.ptp(seen) > 190
    if dtype == np.float32:
        inferencer = FusionInferencer(model, 'random', 'cpu', show_progress=False)
        with pytest.raises(ValueError, match=r'0\.tiff: floating-point values from 7000 to 8500 .*--ir-range LO HI'):
            run(tmp_path, 'vi', 'ir', inferencer=inferencer)


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.avi'])
def test_odd_sizes_lose_nothing(tmp_path, suffix):
    image = np.full((31, 45, 3), 100, np.uint8)
    image[-1], image[:, -1] = 200, 200
    for name in ('vi', 'ir'):
        for k in range(2):
            write_image(tmp_path / name / f'{k}.png', image if name == 'vi' else image[..., 0] - 1)
    assert run(tmp_path, 'vi', 'ir', f'a{suffix}') == 2
    for frame in Frames(tmp_path / f'a{suffix}'):
        assert frame.shape == (32, 46, 3)
        assert frame[30, :40].mean() > 150
        assert frame[:28, 44].mean() > 150


def test_infrared_frames_are_grey(sources):
    assert next(iter(Frames(sources / 'ir.avi', infrared=True))).shape == SIZE
    assert next(iter(Frames(sources / 'ir', infrared=True))).shape == SIZE


def test_frames_of_four_channels(sources):
    """A folder of them gives what its parts give; a video is none."""
    for k in range(5):
        pair = np.concatenate([scene(k), scene(k, ir=True)[..., :1]], 2)
        write_image(sources / 'rgbt' / f'{k:03d}.png', pair)
    videos = [fuse_video(average, *given, sources / f'{n}.avi', show_progress=False) for n, given in enumerate((
        (sources / 'rgbt', None), (sources / 'vi', sources / 'ir')
    ))]  # fmt: skip
    assert videos == [5, 5]
    for a, b in zip(Frames(sources / '0.avi'), Frames(sources / '1.avi'), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r'vi\.avi: a file; expected a folder of frames of four channels'):
        fuse_video(average, sources / 'vi.avi', None, sources / 'a.avi')


@pytest.mark.parametrize(
    'reading', [dict(depth16='stretch'), dict(ir_range=(6900, 8000)), dict(ir_range=('10%', '90%'))]
)
def test_deep_frames_of_four_channels_are_read_as_files_are(tmp_path, reading):
    thermal = (7000 + 1500 * np.linspace(0, 1, SIZE[0] * SIZE[1]).reshape(SIZE)).astype(np.uint16)
    pair = np.dstack([scene(0).astype(np.uint16) * 257, thermal])
    (tmp_path / 'rgbt').mkdir()
    cv2.imwrite(str(tmp_path / 'rgbt' / '0.png'), pair)
    model = Config(dict(model=dict(type='ImageFuser', network=dict(type='AverageNetwork'))))
    inferencer = FusionInferencer(model, 'random', 'cpu', show_progress=False, **reading)
    seen, fuse = [], inferencer._fuse_stacked
    inferencer._fuse_stacked = lambda pairs, names: seen.extend(pairs) or fuse(pairs, names)
    assert fuse_video(inferencer, tmp_path / 'rgbt', None, tmp_path / 'a.avi', show_progress=False) == 1
    np.testing.assert_array_equal(seen[0], read_four_channels(tmp_path / 'rgbt' / '0.png', **reading))
    assert np.ptp(seen[0][..., 3]) > 190


def test_options_hold_for_files_or_are_refused(sources):
    """A number of frames was for streams alone, and patterns of videos were left aside, without a word."""
    out = sources / 'few.avi'
    assert fuse_video(average, sources / 'vi', sources / 'ir', out, max_frames=2, show_progress=False) == 2
    assert len(Frames(out)) == 2
    with pytest.raises(ValueError, match=r'vi\.avi: a video, whose frames have no names'):
        pair_frames(sources / 'vi.avi', sources / 'ir.avi', vi_pattern='{name}_VIS')


def test_nothing_is_left_of_a_failed_run(sources):
    def failing(vi, ir, batch_size):
        if len(average.batches) == 3:
            raise RuntimeError('out of memory')
        return average(vi, ir, batch_size)

    with pytest.raises(RuntimeError, match='out of memory'):
        fuse_video(failing, sources / 'vi', sources / 'ir', sources / 'out' / 'fused.avi', show_progress=False)
    assert list((sources / 'out').iterdir()) == []


@pytest.mark.skipif(os.name == 'nt', reason='names are text there')
def test_paths_of_another_encoding(sources):
    """OpenCV ends the process at one, without a word."""
    folder = Path(os.fsdecode(os.fsencode(sources) + b'/caf\xe9'))
    folder.mkdir()
    for given, out in (('vi', folder / 'fused.avi'), ('vi.avi', sources / 'fused.avi')):
        shutil.copy(sources / 'vi.avi', folder)
        shutil.copytree(sources / 'vi', folder / 'vi', dirs_exist_ok=True)
        infrared = sources / given.replace('vi', 'ir', 1)
        with pytest.raises(ValueError, match=r'caf.*avi: holds bytes that are no UTF-8, .* rename it'):
            fuse_video(average, folder / given, infrared, out, show_progress=False)
    assert {file.name for file in folder.iterdir()} == {'vi', 'vi.avi'}


@pytest.mark.parametrize(
    ('given', 'text', 'message'),
    [
        (('vi.avi', 'ir.avi'), 'out of memory at pair 1 (64×48)', r'out of memory at frame 3 of .*vi\.avi \(64×48\)'),
        (('vi', 'ir'), 'pair 0: too small', r'vi/002\.png: too small'),
        (('vi', 'ir'), 'too small', r'vi/002\.png: too small'),
    ],
)
def test_frames_that_cannot_be_fused_are_named(sources, given, text, message):
    def failing(vi, ir, batch_size):
        if average.batches:
            raise RuntimeError(text)
        return average(vi, ir, batch_size)

    with pytest.raises(RuntimeError, match=message):
        run(sources, *given, inferencer=failing, batch_size=2)


def test_warnings_name_frames_and_come_once(sources):
    """They said `infrared array 0`."""

    def warning(vi, ir, batch_size):
        for k in range(len(ir)):
            warnings.warn(f'infrared array {k}: will be very dark', stacklevel=1)
        return average(vi, ir, batch_size)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('default')
        run(sources, 'vi', 'ir', inferencer=warning, batch_size=2)
    assert [str(w.message).split('/')[-1] for w in told] == [f'00{k}.png: will be very dark' for k in (0, 1)]


def test_errors(sources):
    with pytest.raises(FileNotFoundError, match=r'none.mp4: no such video or folder'):
        Frames(sources / 'none.mp4')
    for source in ('0', 'rtsp://127.0.0.1/a'):
        with pytest.raises(ValueError, match=f'{source}: a camera or a stream; expected a video file'):
            Frames(source)
    (sources / 'broken.avi').write_bytes(b'no video')
    with pytest.raises(ValueError, match='OpenCV does not read this as a video'):
        Frames(sources / 'broken.avi')
    (sources / 'ir' / '004.png').unlink()
    with pytest.raises(ValueError, match=r'1 image\(s\) of .*vi have no counterpart in .*ir: 004\.'):
        fuse_video(average, sources / 'vi', sources / 'ir', sources / 'a.avi', show_progress=False)
    for given in (('vi', 'ir'), ('vi.avi', 'ir')):
        with pytest.raises(ValueError, match=r'has 5 frames and .* 4: frames are paired by their order'):
            run(sources, *given, by_order=given[0] == 'vi')
    with pytest.raises(ValueError, match=r'a video ends in one of \.mp4, \.avi, \.mkv'):
        fuse_video(average, sources / 'vi', sources / 'ir', sources / 'a.gif', show_progress=False)
    for fps in (0, float('nan'), 1e9):
        with pytest.raises(ValueError, match=r'fps must be above 0 and at most 1000, got'):
            run(sources, 'vi', 'ir', fps=fps)
    write_image(sources / 'ir' / '004.png', scene(4, ir=True))

    def growing(vi, ir, batch_size):
        average.batches.append(1)
        return [np.zeros((48 + 2 * len(average.batches), 64, 3), np.uint8)]

    with pytest.raises(ValueError, match=r'frames of two sizes: frame 1 is .*, those before it .*Bring all'):
        fuse_video(growing, sources / 'vi', sources / 'ir', sources / 'a.avi', show_progress=False)


def test_the_demo_from_the_command_line(sources, capsys, load_tool):
    """Frames of a random narrow OCCO equal those that the inferencer gives for the files."""
    demo = load_tool('demo/video_demo.py')
    out = sources / 'fused.avi'
    args = [str(sources / 'vi'), str(sources / 'ir'), 'occo_fmb', 'random', '--device', 'cpu', '--fps', '5']
    assert demo.main([*args, '--out', str(out), '--cfg-options', 'model.network.channels=(4,4,4,4)']) == 0
    assert f'{out}: 5 frames' in capsys.readouterr().out
    pair = np.concatenate([scene(0), scene(0, ir=True)[..., :1]], 2)
    write_image(sources / 'rgbt' / '0.png', pair)
    options = ['--out', str(sources / 'rgbt.avi'), '--cfg-options', 'model.network.channels=(4,4,4,4)']
    assert main(['video', *args[2:6], '--rgbt', str(sources / 'rgbt'), *options]) == 0
    assert 'rgbt.avi: 1 frames' in capsys.readouterr().out
    options = {'model.network.channels': (4, 4, 4, 4)}
    inferencer = FusionInferencer('occo_fmb', 'random', 'cpu', options, show_progress=False)
    expected = inferencer(sources / 'vi', sources / 'ir')
    frames = Frames(out)
    assert frames.fps == 5
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.astype(int) - image).mean() < 8  # what the codec loses
    assert demo.main([str(sources / 'none'), str(sources / 'ir'), 'occo_fmb', 'random', '--out', str(out)]) == 1
    assert 'no such video or folder' in capsys.readouterr().err
    for given, message in (
        (['--rgbt', f'{sources}/none', 'occo_fmb', 'random'], 'none: no such video or folder'),
        ([*args[:4], '--out', f'{sources}/ir/000.png/a.mp4'], 'cannot be written (not a directory)'),
        ([*args[:4], '--out', f'{sources}/a.gif'], 'a video ends in one of .mp4'),
    ):
        assert demo.main(given) == 1
        assert message in capsys.readouterr().err
