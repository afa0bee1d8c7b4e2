"""Camera pairs from views of a chessboard."""

import cv2
import numpy as np
import pytest

from mmfusion.utils.alignment import CameraPair, Lens
from mmfusion.utils.calibration import align_by_target

TO_VISIBLE = np.array([[1.5, 0.02, -20], [-0.02, 1.5, -12], [0, 0, 1]])


def view(rng):
    """A board of 5×4 inner corners, dark on bright in the visible, bright on dark in the infrared image."""
    board = np.kron(np.pad(np.indices((5, 6)).sum(0) % 2, 1, constant_values=1), np.ones((12, 12))) * 180 + 40
    height, width = board.shape
    box = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    corners = np.float32(box * 1.2 + [40, 30] + rng.uniform(-12, 12, (4, 2)))
    matrix = cv2.getPerspectiveTransform(box, corners)
    images = [
        cv2.warpPerspective(board.astype(np.uint8), m, size, borderValue=220, flags=cv2.INTER_AREA)
        for m, size in ((matrix, (200, 150)), (np.linalg.inv(TO_VISIBLE) @ matrix, (150, 120)))
    ]
    return images[0], 255 - images[1]


def test_chessboard():
    views = [view(np.random.default_rng(k)) for k in range(2)]
    blank = (np.zeros((150, 200), np.uint8), np.zeros((120, 150), np.uint8))
    pair, count = align_by_target(views, 5, 4)
    assert count == 2
    assert pair.error < 0.6
    middle = np.array([[[75.0, 60]]])
    assert np.allclose(
        cv2.perspectiveTransform(middle, pair.homography), cv2.perspectiveTransform(middle, TO_VISIBLE), atol=0.6
    )
    with pytest.raises(ValueError, match='seen in 0 visible and 0 infrared'):
        align_by_target([blank], 5, 4)
    with pytest.raises(ValueError, match='at least 3×3'):
        align_by_target([blank], 2, 4)


def film(lens, size, turn, pose):
    """Film a dark board of 8×6 inner corners on bright ground, through a lens."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    pixels = np.stack([x, y], 2).reshape(-1, 2)
    rays = np.c_[lens.undistort(pixels), np.ones(len(pixels))] @ np.linalg.inv(lens.matrix).T
    # A point u, v of the board lies at pose · (u, v, 1), of which the camera sees the direction.
    u, v, w = np.linalg.inv(turn @ pose) @ rays.T
    u, v = u / w, v / w
    squares = np.where((np.floor(u) + np.floor(v)) % 2 == 0, 40.0, 220.0)
    squares[(u < -1) | (v < -1) | (u > 8) | (v > 6)] = 220
    return squares.reshape(size)


def test_lenses_are_kept_where_they_lower_the_error():
    """Two cameras at one place, the infrared one of a strong lens: without it one homography is pixels wrong."""
    visible = Lens([[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]], [-0.05, 0, 0, 0, 0])
    infrared = Lens([[260, 0, 158], [0, 260, 130], [0, 0, 1]], [-0.35, 0.1, 0, 0, 0])
    turn = cv2.Rodrigues(np.array([0.01, -0.03, 0.02]))[0]
    sizes = (480, 640), (256, 320)
    rng, views = np.random.default_rng(0), []
    for place in [(-2, -1), (2, -1), (-2, 1), (2, 1), (0, 0), (0, -1), (0, 1), (-2, 0), (2, 0)]:
        tilt = cv2.Rodrigues(rng.uniform(-0.3, 0.3, 3))[0]
        pose = np.c_[tilt[:, :2], [0, 0, 12] + np.r_[place, 0] - tilt[:, :2] @ [3.5, 2.5]]
        # Filmed at twice the size: the edges of pixels are soft.
        images = []
        for lens, size, way in zip((visible, infrared), sizes, (np.eye(3), turn), strict=True):
            fine = Lens(np.diag([2, 2, 1]) @ lens.matrix + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], lens.distortion)
            image = film(fine, (2 * size[0], 2 * size[1]), way, pose)
            images.append(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8))
        views.append((images[0], 255 - images[1]))
    pair, count = align_by_target(views, 8, 6)
    assert count == 9
    assert pair.error < 0.5
    np.testing.assert_allclose(pair.infrared_lens.distortion[:2], infrared.distortion[:2], atol=0.05)
    few, _ = align_by_target(views[:7], 8, 6, max_error=20)
    assert few.infrared_lens is None
    assert few.error > 4 * pair.error

    # What the file says, warped: the infrared board lies on the visible one, up to the corners of the infrared image.
    pair = CameraPair.from_dict(pair.to_dict())
    for vi, ir in views:
        seen = pair.seen(sizes[0])
        difference = np.abs(255.0 - pair.warp(ir, sizes[0]) - vi)[seen]
        assert np.mean(difference > 90) < 0.002


def test_a_lens_does_not_fold_what_it_cannot_see():
    """Far outside, a polynomial of a lens returns to the image: there the camera sees nothing."""
    lens = Lens([[260, 0, 159.5], [0, 260, 127.5], [0, 0, 1]], [-0.4, 0, 0, 0])
    quarter = np.array([[0.25, 0, 0.75 * 159.5], [0, 0.25, 0.75 * 127.5], [0, 0, 1]])  # about the middle
    pair = CameraPair(quarter, (256, 320), (256, 320), infrared_lens=lens)
    seen = pair.seen((256, 320))
    assert not seen[0, 0]
    assert cv2.connectedComponents((~seen).astype(np.uint8))[0] == 2
