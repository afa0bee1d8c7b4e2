"""Alignments estimated from the images alone."""

import cv2
import numpy as np
import pytest

from mmfusion.cli import main
from mmfusion.datasets.synthetic.render import render_scene
from mmfusion.utils import CameraPair, write_image
from mmfusion.utils.alignment_search import align_by_images, find_shift, search

SIZE = (240, 320)
# Infrared → visible pixels: 7 % of the width to the right, turned by 3°, a little smaller, mild perspective.
TRUE = np.array([[0.95, -0.05, 30], [0.05, 0.95, -9], [0.00002, -0.00003, 1]])


def displaced(ir, matrix=TRUE):
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(ir, matrix, ir.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def error(found, true=TRUE, size=SIZE):
    """Mean distance of the four corners, in pixels."""
    (height, width) = size
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    return np.linalg.norm(
        np.diff([cv2.perspectiveTransform(corners, m)[0] for m in (found, true)], axis=0), axis=2
    ).mean()


@pytest.fixture(scope='module')
def scenes():
    """Visible and infrared images of three scenes."""
    rendered = [render_scene(3, k, SIZE) for k in (3, 1, 2)]
    return [(scene.vi, scene.ir) for scene in rendered]


def test_a_known_homography_is_recovered(scenes):
    vi, ir = scenes[0]
    pair = align_by_images([(vi, displaced(ir))])
    assert error(pair.homography) < 2
    assert pair.confidence >= 0.5
    assert (pair.visible_size, pair.infrared_size) == (SIZE, SIZE)
    # Contrast the other way round, another size, and a shape of its own.
    small = cv2.resize(255 - displaced(ir), (160, 120), interpolation=cv2.INTER_AREA)
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    assert error(align_by_images([(vi, small)]).homography, TRUE @ double, (120, 160)) < 3
    lower = align_by_images([(vi, displaced(ir)[40:200])]).homography
    assert error(lower, TRUE @ np.array([[1, 0, 0], [0, 1, 40], [0, 0, 1]]), (160, 320)) < 3


def test_several_pairs_share_an_alignment(scenes):
    frames = [(vi, displaced(ir)) for vi, ir in scenes]
    alone = [error(search([(cv2.cvtColor(vi, cv2.COLOR_BGR2GRAY), ir)]).homography) for vi, ir in frames]
    assert error(align_by_images(frames).homography) < max(alone)


def test_models(scenes):
    vi, ir = scenes[0]
    true = np.array([[0.97, -0.06, 12], [0.06, 0.97, -4], [0, 0, 1]])
    found = align_by_images([(vi, displaced(ir, true))], 'similarity').homography
    assert error(found, true) < 2
    assert np.allclose([found[0, 0] - found[1, 1], found[0, 1] + found[1, 0], *found[2, :2]], 0, atol=1e-6)


def test_refusals(scenes):
    noise = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    vi, ir = scenes[0]
    for other in (noise, np.full(SIZE, 90, np.uint8), scenes[1][1]):
        with pytest.raises(ValueError, match=r'cannot be told from the images: confidence 0\.\d\d, at least 0.5'):
            align_by_images([(vi, other)])
    with pytest.raises(ValueError, match='pairs of several sizes'):
        align_by_images([(vi, ir), (vi, ir[:100])])


def test_the_check(scenes):
    vi, ir = scenes[0]
    shift = find_shift(vi, ir)
    assert np.hypot(shift.x, shift.y) < 0.01 * SIZE[1]
    assert not shift.visible
    moved = find_shift(vi, np.roll(ir, (-6, 14), (0, 1)))
    assert np.allclose([moved.x, moved.y], [14, -6], atol=2.5)
    assert moved.visible
    for name, flip in (('upside down', -1), ('mirrored left to right', 1), ('mirrored top to bottom', 0)):
        turned = find_shift(vi, cv2.flip(ir, flip))
        assert (turned.orientation, turned.visible) == (name, True)
    assert not find_shift(vi, np.full(SIZE, 90, np.uint8)).visible


@pytest.fixture
def recorded(scenes, tmp_path):
    for k, (vi, ir) in enumerate(scenes):
        write_image(tmp_path / 'vi' / f'{k}.png', vi)
        write_image(tmp_path / 'ir' / f'{k}.png', displaced(ir))
    return tmp_path


def test_the_verb(recorded, capsys):
    folders = ['--vi', str(recorded / 'vi'), '--ir', str(recorded / 'ir')]
    file = recorded / 'pair.json'
    estimate = ['align', *folders, '--estimate', '--out', str(file), '--panels', str(recorded / 'panels')]
    assert main(estimate) == 0
    assert 'homography estimated from 3 pairs, confidence ' in capsys.readouterr().out
    pair = CameraPair.load(file)
    assert error(pair.homography) < 2
    assert len(list((recorded / 'panels').iterdir())) == 3
    assert main(['align', '--check', str(recorded)]) == 0
    told = capsys.readouterr().out
    assert told.count('of the width; confidence') == 3
    assert 'WARNING: 3 pairs are shifted by more than 2 % of the width' in told
    for image in (recorded / 'ir').iterdir():
        write_image(image, cv2.imread(str(image))[::-1, ::-1])
    assert main(['align', '--check', *folders, '--frames', '1']) == 0
    assert 'infrared images are upside down: turn them first' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--estimate', '--vi', 'vi'], '--ir, --out: not given'),
        (['--check', '--vi', 'vi'], 'expected a folder with folders vi and ir in it, or --vi and --ir'),
        (['--estimate', '--vi', 'vi', '--ir', 'ir', '--out', 'a.json', '--field', '1', '0.5'], '--field 1 0.5'),
    ],
)
def test_arguments(arguments, message, recorded, monkeypatch, capsys):
    monkeypatch.chdir(recorded)
    assert main(['align', *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.data
def test_real_pairs(data_dir):
    names = [f'train/{{}}/01000{k}.jpg' for k in range(1, 5)]
    vi, ir = ([cv2.imread(str(data_dir / 'samples/LLVIP' / n.format(kind)), 0) for n in names] for kind in ('vi', 'ir'))
    true = np.array([[0.96, -0.05, 100], [0.05, 0.96, -30], [0.00001, -0.00001, 1]])
    moved = align_by_images([(v, displaced(i, true)) for v, i in zip(vi, ir, strict=True)])
    still = align_by_images(list(zip(vi, ir, strict=True)))
    # What is published as aligned is up to 20 pixels off at the corners: two estimates must agree.
    assert error(moved.homography, still.homography @ true, ir[0].shape) < 5
    with pytest.raises(ValueError, match='cannot be told'):
        align_by_images([(vi[0], cv2.imread(str(data_dir / 'samples/LLVIP/test/ir/200002.jpg'), 0))])
