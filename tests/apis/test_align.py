"""Unaligned pairs through the inferencer, videos, evaluation and datasets."""

import re

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from mmfusion.apis import FusionInferencer
from mmfusion.apis.video import fuse_video
from mmfusion.cli import main
from mmfusion.datasets.synthetic.render import render_scene
from mmfusion.datasets.transforms import FuseImages, LoadImagePair, PackFusionInputs, WarpInfrared
from mmfusion.models.hub import find_weights
from mmfusion.utils import CameraPair, ImageReadError, read_pair, to_bgr, write_image

# The infrared image, 32×24, covers the middle of the visible one, 64×48.
PAIR = CameraPair(np.array([[1.5, 0, 8.0], [0, 1.5, 6.0], [0, 0, 1]]), (48, 64), (24, 32))


@pytest.fixture
def unaligned(tmp_path, one_thread):
    rng = np.random.default_rng(0)
    for name in 'ab':
        scene = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3)
        write_image(tmp_path / 'vi' / f'{name}.png', scene)
        write_image(tmp_path / 'ir' / f'{name}.png', 255 - cv2.resize(scene[6:42, 8:56, 0], (32, 24)))
    PAIR.save(tmp_path / 'pair.json')
    return tmp_path


def test_a_folder_is_fused_and_evaluated_with_align(unaligned, capsys):
    folders = ['--vi', str(unaligned / 'vi'), '--ir', str(unaligned / 'ir')]
    fuse = ['fuse', 'lite', *folders, '--out', str(unaligned / 'out'), '--device', 'cpu']
    assert main(fuse) == 1
    assert '`mmfusion align`' in capsys.readouterr().err
    aligned = ['--align', str(unaligned / 'pair.json')]
    assert main([*fuse, *aligned]) == 0
    vi, fused = (cv2.imread(str(unaligned / folder / 'a.png')) for folder in ('vi', 'out'))
    seen = PAIR.seen((48, 64))
    assert 0.4 < seen.mean() < 0.7
    assert np.array_equal(fused[~seen], vi[~seen])
    assert np.abs(fused[seen].astype(int) - vi[seen]).mean() > 3
    # The same command goes on; another alignment would be mixed with this one's images.
    assert main([*fuse, *aligned]) == 0
    CameraPair(np.eye(3), (48, 64), (24, 32)).save(unaligned / 'pair.json')
    assert main([*fuse, *aligned]) == 1
    assert 'align.homography' in capsys.readouterr().err
    PAIR.save(unaligned / 'pair.json')
    evaluate = ['evaluate', *folders, '--fused', f'Lite={unaligned / "out"}', '--metrics', 'EN,CC', '--no-report']
    assert main([*evaluate, '--out', str(unaligned / 'eval'), '--workers', '1', *aligned]) == 0
    assert (unaligned / 'eval' / 'metrics.csv').is_file()


def test_video_frames_of_two_sizes(unaligned):
    inferencer = FusionInferencer('lite', device='cpu', align=PAIR, show_progress=False)
    out = unaligned / 'fused.avi'
    assert fuse_video(inferencer, unaligned / 'vi', unaligned / 'ir', out, show_progress=False) == 2
    stacked = np.concatenate([np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 1), 90, np.uint8)], 2)
    assert not inferencer.fuse_stacked(stacked)[~PAIR.seen((48, 64))].any()


def test_the_same_image_by_every_way(unaligned):
    """Where the infrared camera does not see, tests and FuseImages gave the network's image, not the visible one."""
    align = str(unaligned / 'pair.json')
    files = dict(img_path=str(unaligned / 'vi/a.png'), ir_path=str(unaligned / 'ir/a.png'))
    inferencer = FusionInferencer('lite', device='cpu', align=align, show_progress=False)
    expected = inferencer(*files.values())
    load = LoadImagePair(align=align)
    weights = str(find_weights(inferencer.cfg))
    assert np.array_equal(FuseImages('lite', weights)(load(dict(files)))['img'], expected)
    packed = PackFusionInputs()(load(dict(files)))
    assert np.array_equal(to_bgr(inferencer.model.test_step(pseudo_collate([packed]))[0].fused.data), expected)
    flipped = PackFusionInputs()(load(dict(files)) | dict(flip=True))  # of which the file says nothing
    assert not np.array_equal(to_bgr(inferencer.model.test_step(pseudo_collate([flipped]))[0].fused.data), expected)


def test_datasets(unaligned):
    files = dict(img_path=str(unaligned / 'vi/a.png'), ir_path=str(unaligned / 'ir/a.png'))
    loaded = LoadImagePair(align=str(unaligned / 'pair.json'))(dict(files))
    vi, ir = read_pair(*files.values(), align=PAIR)
    assert np.array_equal(loaded['img'], np.dstack([vi, ir]))
    with pytest.raises(ValueError, match='mmfusion align'):
        LoadImagePair()(dict(files))
    with_mask = WarpInfrared(PAIR, with_mask=True, warp=False)(loaded)
    sample = PackFusionInputs()(with_mask)['data_samples']
    assert np.array_equal(sample.ir_seen.data[0].numpy() == 1, PAIR.seen((48, 64)))
    # A stacked pair: both channels of one size, cameras not aligned.
    pair = CameraPair(np.array([[1, 0, 5.0], [0, 1, 0], [0, 0, 1]]), (48, 64), (48, 64))
    moved = WarpInfrared(pair)(dict(img=np.dstack([vi, ir])))['img']
    assert np.array_equal(moved[:, 5:, 3], ir[:, :-5])
    assert np.array_equal(moved[..., :3], vi)


def test_a_damaged_file_is_named(unaligned, capsys):
    (unaligned / 'pair.json').write_text('{}')
    options = ['--vi', str(unaligned / 'vi'), '--ir', str(unaligned / 'ir'), '--align', str(unaligned / 'pair.json')]
    assert main(['fuse', 'lite', *options, '--out', str(unaligned / 'out')]) == 1
    assert 'pair.json: no homography' in capsys.readouterr().err
    with pytest.raises(ImageReadError):
        read_pair(unaligned / 'none.png', unaligned / 'ir/a.png', align=PAIR)


def test_points_make_the_file_that_fuse_takes(unaligned, capsys):
    """From listed points to a fused image, and pictures of before and after."""
    ir = np.array([[1, 2], [28, 3], [27, 20], [3, 21], [15, 10]], float)
    rows = np.c_[ir * 1.5 + [8, 6], ir]
    (unaligned / 'points.csv').write_text('\n'.join(','.join(map(str, row)) for row in rows))
    out, images = unaligned / 'made.json', ['--vi', str(unaligned / 'vi'), '--ir', str(unaligned / 'ir')]
    command = ['align', *images, '--points', str(unaligned / 'points.csv'), '--out', str(out)]
    assert main([*command, '--panels', str(unaligned / 'panels')]) == 0
    assert 'error 0.00 pixels' in capsys.readouterr().out
    assert np.allclose(CameraPair.load(out).homography, PAIR.homography, atol=1e-6)
    assert cv2.imread(str(unaligned / 'panels' / 'a.png')).shape == (48, 3 * 64, 3)
    assert main(command) == 0
    assert 'stays' in capsys.readouterr().out
    assert main(['align', *images, '--chessboard', '5x4', '--out', str(out), '--overwrite']) == 1
    assert 'seen in 0 visible and 0 infrared' in capsys.readouterr().err


@pytest.mark.usefixtures('one_thread')
def test_a_folder_that_is_shifted_is_said_once(monkeypatch, tmp_path):
    def files(name, images):
        paths = [tmp_path / name / f'{k}.png' for k in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            write_image(path, image)
        return paths

    scenes = [render_scene(3, index, (240, 320)) for index in (1, 3)]
    arrays = [scene.vi for scene in scenes], [np.roll(scene.ir, 14, 1) for scene in scenes]
    visible, infrared = files('vi', arrays[0]), files('ir', [scene.ir for scene in scenes])
    shifted = files('shifted', arrays[1])
    said = []
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *args: said.append(text))
    inferencer = FusionInferencer('lite', device='cpu', show_progress=False)
    inferencer(visible, infrared)
    inferencer(visible, [shifted[0], infrared[1]])
    inferencer(visible[0], shifted[0])  # one pair is not looked at
    inferencer(*arrays)  # frames of a video come batch by batch
    assert not said
    inferencer(visible, shifted)
    assert len(said) == 1
    assert re.search(r'not aligned with the visible one: \+1\d, [+-]\d pixels .*`mmfusion align --check`', said[0])
    small = [[image[:40, :60] for image in images] for images in arrays]
    inferencer(files('small_vi', small[0]), files('small_ir', small[1]))
    aligned = FusionInferencer(
        'lite', device='cpu', show_progress=False, align=CameraPair(np.eye(3), *[(240, 320)] * 2)
    )
    aligned(visible, shifted)
    assert len(said) == 1
