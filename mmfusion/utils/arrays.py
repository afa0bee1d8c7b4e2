"""Checking arrays of images, and bringing them to 8 bits.

Arrays are in OpenCV's order: a visible image is H×W×3 uint8 (B, G, R), an infrared image H×W uint8.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .scaling import ImageReadError, parse_range, range_ends, refuse_infinite, scale_advice, scaled, to_8bit

FOUR = ' Files whose fourth channel is thermal are given alone: ir=None, data_prefix=dict(rgbt_path=…), or --rgbt DIR.'


def visible_array(values: np.ndarray, name: str | Path, depth16: str = 'full') -> np.ndarray:
    """Check a visible array, and bring it to H×W×3 uint8.

    It is H×W, H×W×1 or H×W×3 (B, G, R) uint8, uint16, or floating point in [0, 1]; others by ``depth16='stretch'``.

    Raises:
        ImageReadError: If the shape is another, or values have no scale; by ``name``.
    """
    if values.ndim not in (2, 3) or 0 in values.shape or (values.ndim == 3 and values.shape[2] not in (1, 3)):
        raise ImageReadError(
            f'{name}: expected H×W×3 (B, G, R) or H×W, got shape {values.shape} of type {values.dtype}.'
            + (FOUR if values.ndim == 3 and values.shape[2] == 4 else '')
        )
    values = checked(values, name, depth16)
    if values.ndim == 2 or values.shape[2] == 1:
        return np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    return values


def infrared_array(
    values: np.ndarray, name: str | Path, depth16: str = 'full', ir_range: Sequence[float | str] | None = None
) -> np.ndarray:
    """Check an infrared array, H×W or H×W×1, and bring it to uint8.

    It is uint8, uint16, or floating point in [0, 1]; others by ``depth16='stretch'`` or a range, as in
    :func:`check_reading`.

    Raises:
        ImageReadError: If the shape is another, or values have no scale; by ``name``.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise ImageReadError(
            f'{name}: expected H×W, got shape {values.shape} of type {values.dtype}.'
            + (FOUR if values.ndim == 3 and values.shape[2] == 4 else ' Take one channel of a grey picture in colour.')
        )
    if ir_range is not None and values.dtype.kind in 'uif':
        refuse_infinite(values, name)
        low, high = range_ends(values, parse_range(ir_range))
        if values.max() <= low or values.min() >= high:
            warnings.warn(
                f'{name}: its values, from {values.min():g} to {values.max():g}, all lie outside of ir_range '
                f'(--ir-range) {low:g} to {high:g}: the image has one level. Give a range in the unit of the file.',
                stacklevel=3,
            )
        return scaled(values, low, high)
    return checked(values, name, depth16)


def rgbt_array(
    values: np.ndarray, name: str | Path, depth16: str = 'full', ir_range: Sequence[float | str] | None = None
) -> np.ndarray:
    """Check a pair, H×W×4 (B, G, R, IR), as uint8.

    Raises:
        ImageReadError: If the shape is another, or values have no scale.
    """
    if values.ndim != 3 or values.shape[2] != 4:
        raise ImageReadError(f'{name}: expected H×W×4 (B, G, R, IR), got shape {values.shape} of type {values.dtype}.')
    vi, ir = visible_array(values[..., :3], name, depth16), infrared_array(values[..., 3], name, depth16, ir_range)
    return np.concatenate([vi, ir[..., None]], axis=2)


def checked(values: np.ndarray, name: str | Path, depth16: str) -> np.ndarray:
    """Give an array as uint8; unusual integers need stretching."""
    known = values.dtype.kind in 'bf' or values.dtype.str[1:] in ('u1', 'u2', 'i4')  # Pillow gives 16 bits as i4, too
    if not known and (depth16 != 'stretch' or values.dtype.kind not in 'ui'):
        raise ImageReadError(
            f'{name}: expected uint8, uint16 or floating point from 0 to 1, got type {values.dtype}. '
            f'{scale_advice(depth16)}.'
        )
    return to_8bit(values, name, depth16)


def refuse_equal(vi: np.ndarray, ir: np.ndarray, vi_name: str | Path, ir_name: str | Path) -> None:
    """Refuse a pair of one picture, such as a copied file.

    Both are H×W×3 uint8 (B, G, R) or H×W, of one size; the names are for the message.

    Raises:
        ValueError: If they are equal in every pixel; images of one value, such as black frames, pass.
    """
    few = slice(None, None, 8)  # other pairs differ here already
    if all(np.array_equal(_as_grey(vi[part]), _as_grey(ir[part])) for part in ((few, few), ())) and np.ptp(ir):
        raise ValueError(
            f'{ir_name}: in every pixel the same picture as {vi_name}, which would fuse an image with itself. Give the '
            'infrared image.'
        )


def _as_grey(image: np.ndarray) -> np.ndarray:
    """Grey as :func:`read_infrared` makes it of colours."""
    return (
        image if image.ndim == 2 else np.asarray(Image.fromarray(np.ascontiguousarray(image[..., ::-1])).convert('L'))
    )
