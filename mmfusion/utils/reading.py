"""Reading of visible images, pairs, masks and label maps.

Arrays are in OpenCV's order: a visible image is H×W×3 uint8 (B, G, R), an infrared image or a mask H×W uint8.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .alignment import CameraPair, camera_pair
from .arrays import rgbt_array, visible_array
from .decoding import EXTRA, convert, decode_by_opencv, open_image, tiff_tags
from .infrared import opaque, read_infrared, refuse_fourth
from .scaling import ImageReadError


def read_visible(path: str | Path, depth16: str = 'full') -> np.ndarray:
    """Read a visible image of any common kind as H×W×3 uint8.

    Grey, RGB, RGBA (transparency is dropped), palette, 16-bit, floating-point, EXIF-rotated; a ``.npy`` of colours is in B,
    G, R. ``depth16`` is as in :func:`check_reading`.

    Raises:
        ImageReadError: If the file is missing, damaged, or has values without a scale.
    """
    img = open_image(path)
    if not isinstance(img, np.ndarray):
        return np.ascontiguousarray(np.asarray(convert(img, 'RGB', path))[..., ::-1])
    if img.ndim == 3 and img.shape[2] == 4 and Path(path).suffix.lower() != '.npy':
        img = img[..., :3]
    return visible_array(img, path, depth16)


def read_four_channels(
    path: str | Path, depth16: str = 'full', ir_range: Sequence[float | str] | None = None
) -> np.ndarray:
    """Read a file of four channels (MFNet's form) as H×W×4 uint8.

    They are R, G, B and thermal, and come as B, G, R, IR, the order of a ``.npy``. Colours and thermal channel each have
    their own scale; options are as in :func:`check_reading`.

    Raises:
        ImageReadError: If the file is missing or damaged, or has not four channels.
    """
    return rgbt_array(four_values(path), path, depth16, ir_range)


def four_values(path: str | Path) -> np.ndarray:
    """Read a file of four channels unscaled, for :func:`rgbt_array`: H×W×4.

    Raises:
        ImageReadError: As in :func:`read_four_channels`.
    """
    img = open_image(path)
    if (tiff_tags(path) or {}).get(EXTRA, (0,))[0] == 1:  # Pillow would divide the colours by this "transparency"
        img = decode_by_opencv(path)
    if not isinstance(img, np.ndarray) and img.mode in ('RGBA', 'RGBX'):
        img = np.asarray(img)[..., [2, 1, 0, 3]]
    if isinstance(img, np.ndarray) and img.ndim == 3 and img.shape[2] == 4:
        if opaque(img[..., 3]):
            raise ImageReadError(
                f'{path}: the fourth channel is opaque transparency, its highest value everywhere; expected a thermal one.'
            )
        return img
    found = f'an array of shape {img.shape}' if isinstance(img, np.ndarray) else f'an image of mode {img.mode}'
    raise ImageReadError(
        f'{path}: expected four channels (R, G, B, thermal), found {found}. Pairs in two files are given as two files or '
        'folders (vi and ir).'
    )


def read_pair(
    vi: str | Path,
    ir: str | Path | None = None,
    depth16: str = 'full',
    ir_range: Sequence[float | str] | None = None,
    ir_colormap: str | None = None,
    align: CameraPair | Mapping | str | Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a visible and an infrared image: H×W×3 and H×W uint8.

    They are two files; or one, whose four channels are R, G, B and thermal, given alone or for both. Options are as in
    :func:`check_reading`; with ``align`` the infrared image is warped, see :meth:`~mmfusion.utils.CameraPair.bring`.
    """
    if ir is None or str(vi) == str(ir):
        pair = read_four_channels(vi, depth16, ir_range)
        images = pair[..., :3], pair[..., 3]
    else:
        images = read_visible(vi, depth16), read_infrared(ir, depth16, ir_range, ir_colormap)
    return images if align is None else (images[0], camera_pair(align).bring(*images, vi if ir is None else ir))


def read_shown(
    path: str | Path,
    depth16: str = 'full',
    infrared: bool = False,
    ir_range: Sequence[float | str] | None = None,
    ir_colormap: str | None = None,
) -> np.ndarray:
    """Read an image as measured or shown: grey stays one channel.

    Args:
        path: The file.
        depth16: As in :func:`check_reading`; ``'result'`` for a fused image, which is never stretched.
        infrared: Refuse a fourth channel, as :func:`read_infrared` does.
        ir_range, ir_colormap: As in :func:`check_reading`, of an infrared image.

    Raises:
        ImageReadError: If the file is missing, damaged, or has values without a scale.
    """
    if infrared and (ir_range is not None or ir_colormap is not None):
        return read_infrared(path, depth16, ir_range, ir_colormap)
    img = open_image(path)
    if infrared:
        refuse_fourth(img, path)
    if isinstance(img, np.ndarray):
        grey = img.ndim == 2 or img.shape[2] == 1
        img = img[..., :3] if img.ndim == 3 and img.shape[2] == 4 else img
    else:
        grey = img.mode in ('1', 'L', 'LA')
        img = np.asarray(convert(img, 'RGB', path))[..., ::-1]
    image = np.ascontiguousarray(visible_array(img, path, depth16))
    return image[..., 0].copy() if grey else image


def read_mask(path: str | Path) -> np.ndarray:
    """Read a binary mask as H×W uint8 of 0 and 1.

    A mask that lost its edges to a lossy format, such as JPEG, is cut at half its range, with a warning: there 0 became
    values up to 20 around objects.

    Raises:
        ImageReadError: If the file is missing or damaged.
    """
    img = open_image(path)
    # A mask of 16 bits may count to 1 only, which no scale to 8 bits would leave standing.
    values = img if isinstance(img, np.ndarray) else np.asarray(convert(convert(img, 'RGB', path), 'L', path))
    if values.ndim == 3:
        values = values[..., :3].any(2)
    levels = np.unique(values)
    lossy = str(path).lower().endswith(('.jpg', '.jpeg', '.webp', '.jp2')) or len(levels) > 16
    if lossy and levels[-1] > 127 and len(levels) > 2:
        warnings.warn(
            f'{path}: a mask of {len(levels)} levels, as a lossy format makes of 0 and 255: cut at half its range. Save '
            'masks as PNG.',
            stacklevel=2,
        )
        return (values > levels[-1] / 2).astype(np.uint8)
    return (values > 0).astype(np.uint8)


def read_label_map(path: str | Path) -> np.ndarray:
    """Read a map of class indices, H×W uint8.

    It is grey, palette (its indices), 16-bit or 1-bit.

    Raises:
        ImageReadError: If the file is missing or damaged, has colours instead of indices, or an index above 255.
    """
    img = open_image(path, stored=True)
    found = f'shape {img.shape}' if isinstance(img, np.ndarray) else f'mode {img.mode}'
    labels = np.asarray(img)
    if labels.ndim == 3 and labels.shape[2] == 1:
        labels = labels[..., 0]
    if labels.ndim != 2 or (not isinstance(img, np.ndarray) and img.mode not in ('L', 'P', '1')):
        raise ImageReadError(
            f'{path}: a label map must have one channel of class indices, found an image of {found}. Is it a '
            'coloured picture of the labels?'
        )
    if labels.min() < 0 or labels.max() > 255 or (labels != np.floor(labels)).any():
        raise ImageReadError(f'{path}: labels from {labels.min()} to {labels.max()}; expected whole numbers, 0 to 255')
    return labels.astype(np.uint8)
