"""The file of a camera pair: fitted to points, written, read, and warped by."""

import cv2
import numpy as np
import pytest

from mmfusion.utils.alignment import CameraPair, Lens, align_by_points, camera_pair, read_points

# An infrared image half as large, shifted, turned a little.
MATRIX = np.array([[2.0, 0.06, 6.0], [-0.06, 2.0, 4.0], [1e-4, 0, 1]])
IR_POINTS = np.array([[1, 2], [28, 3], [27, 20], [3, 21], [15, 10], [22, 12]], float)


def points():
    return cv2.perspectiveTransform(IR_POINTS[None], MATRIX)[0], IR_POINTS


def test_points_to_file_and_back(tmp_path):
    vi, ir = points()
    lines = '\n'.join(', '.join(map(repr, map(float, row))) for row in np.c_[vi, ir])
    (tmp_path / 'points.csv').write_text(f'vi x,vi y,ir x,ir y\n# by hand\n{lines}\n')
    pair = align_by_points(*read_points(tmp_path / 'points.csv'), (48, 64), (24, 32))
    assert np.allclose(pair.homography, MATRIX, atol=1e-5)
    assert pair.error < 1e-6
    pair.save(tmp_path / 'pair.json')
    again = CameraPair.load(tmp_path / 'pair.json')
    assert np.array_equal(again.homography, pair.homography)
    assert again.visible_size == (48, 64)


def test_a_wrong_point_is_named():
    vi, ir = points()
    vi[3] += 40
    with pytest.raises(ValueError, match=r'error of .* pixels.*The worst is pair \d'):
        align_by_points(vi, ir, (48, 64), (24, 32))
    with pytest.raises(ValueError, match='at least 4 pairs'):
        align_by_points(vi[:3], ir[:3], (48, 64), (24, 32))


def test_warp_at_two_scales_and_what_lies_outside():
    pair = CameraPair(MATRIX, (48, 64), (24, 32))
    ramp = np.add.outer(np.arange(24) * 3, np.arange(32) * 5).astype(np.uint8) + 20
    warped, seen = pair.warp(ramp, (48, 64)), pair.seen((48, 64))
    assert warped.shape == seen.shape == (48, 64)
    assert not seen[0].any()
    assert seen[20:40, 20:50].all()
    x, y = cv2.perspectiveTransform(np.array([[[15.0, 10.0]]]), MATRIX)[0, 0]
    assert abs(float(warped[round(y), round(x)]) - ramp[10, 15]) < 4
    larger = pair.warp(cv2.resize(ramp, (64, 48)), (96, 128))
    assert abs(larger[50:70, 50:90].mean() - warped[25:35, 25:45].mean()) < 1.5
    vi = np.full((48, 64, 3), (10, 200, 90), np.uint8)
    filled = pair.bring(vi, ramp)
    assert (filled[~seen] == cv2.cvtColor(vi, cv2.COLOR_BGR2GRAY)[0, 0]).all()
    assert np.array_equal(filled[seen], warped[seen])
    with pytest.raises(ValueError, match='40×48 but the alignment was made for 32×24'):
        pair.warp(np.zeros((48, 40), np.uint8), (48, 64))
    with pytest.raises(ValueError, match='whole infrared image out of'):
        CameraPair(np.array([[1, 0, 500], [0, 1, 0], [0, 0, 1.0]]), (48, 64), (24, 32)).bring(vi, ramp)


def test_lenses_go_to_the_file_and_into_the_warp(tmp_path):
    lens = Lens(np.array([[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1.0]]), np.array([-0.2, 0.05, 0, 0, 0]))
    points = np.array([[5.0, 6], [60, 40], [31.5, 23.5]])
    assert np.allclose(lens.distort(lens.undistort(points)), points, atol=0.02)
    CameraPair(np.eye(3), (48, 64), (48, 64), visible_lens=lens).save(tmp_path / 'pair.json')
    pair = camera_pair(tmp_path / 'pair.json')
    assert pair is camera_pair(pair.to_dict())
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    expected = lens.undistort(np.array([[50.0, 40.0]]))[0, 0] * 3
    assert abs(float(pair.warp(ramp, (48, 64))[40, 50]) - expected) < 2
    # The same lens in both cameras, at one place, changes nothing.
    both = CameraPair(np.eye(3), (48, 64), (48, 64), visible_lens=lens, infrared_lens=lens)
    inside = both.warp(ramp, (48, 64))[4:-4, 4:-4].astype(int)
    assert np.abs(inside - ramp[4:-4, 4:-4]).max() <= 1


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('no json', 'cannot be read as an alignment'),
        ('{}', 'no homography, visible_size, infrared_size'),
        ('{"homography": [[1, 0], [0, 1]], "visible_size": [4, 4], "infrared_size": [4, 4]}', 'expected 3×3'),
        ('{"homography": [[1,0,0],[0,1,0],[0,0,1]], "visible_size": 4, "infrared_size": [4, 4]}', 'height, width'),
    ],
)
def test_damaged_files_are_named(tmp_path, text, words):
    (tmp_path / 'pair.json').write_text(text)
    with pytest.raises(ValueError, match=words) as e:
        CameraPair.load(tmp_path / 'pair.json')
    assert 'pair.json' in str(e.value)
    (tmp_path / 'points.txt').write_text('1 2 3\n')
    with pytest.raises(ValueError, match=r'line 1.*four numbers'):
        read_points(tmp_path / 'points.txt')
