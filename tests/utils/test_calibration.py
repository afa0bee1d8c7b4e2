"""Camera pairs from views of a chessboard."""

import cv2
import numpy as np
import pytest

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
