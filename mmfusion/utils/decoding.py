"""Opening of image files of every kind, as Pillow images or arrays."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .scaling import ImageReadError
from .writing import WRITE_SUFFIXES

IMG_SUFFIXES = (
    *WRITE_SUFFIXES, '.jp2', '.j2k', '.pgm', '.ppm', '.pbm', '.pnm', '.pfm', '.jfif', '.jpe', '.avif', '.npy',
)  # fmt: skip
# As many as OpenCV decodes. Pillow's own limit, a sixth of that, refuses maps and mosaics of people's own.
_MAX_PIXELS = 2**30
_PILLOW_LIMIT = Lock()
# Tags of TIFF: bits of each channel, what 0 means, number of channels, interleaved or not, what further channels are,
# integers or floats.
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
# Formats in which further images of a file are data; a JPEG's or an MPO's are previews.
_PAGED = ('TIFF', 'GIF', 'PNG', 'WEBP', 'AVIF')


def open_header(path: str | Path) -> Image.Image:
    """Open an image of any size up to ``_MAX_PIXELS``, without decoding it."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            img = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = img.size
    if width * height > _MAX_PIXELS:
        img.close()
        raise ImageReadError(
            f'{path}: {width}×{height} pixels (width×height), more than the {_MAX_PIXELS} that can be read. Cut the image '
            'into parts.'
        )
    return img


def open_image(path: str | Path, stored: bool = False) -> Image.Image | np.ndarray:
    """Decode an image file.

    An image of 8 bits or 1 bit a channel is turned as EXIF says; of more bits it is what the file holds, H×W or H×W×C (B,
    G, R).

    Args:
        path: The file.
        stored: Give the numbers of grey files of 2 or 4 bits, and of PGM, as they are written; decoders spread them to the
            full scale.
    """
    if Path(path).suffix.lower() == '.npy':
        return read_array(path)
    tags = tiff_tags(path)
    if tags:
        _refuse_tiff(tags, path)
    try:
        with open_header(path) as img:
            _refuse_pages(img, path)
            if tags and tags.get(_SAMPLES, 1) > len(img.getbands()):  # Pillow drops an unnamed fourth channel
                return decode_by_opencv(path)
            if _is_deep_colour(img, path):
                values = decode_by_opencv(path)
                return values if tags else _turned(values, orientation_of(img))  # OpenCV turns TIFF alone
            highest = _highest(img) if stored else None
            if tags:
                img.filename = ''  # Pillow maps a file of plain values by its turned size, which gives others
            img.load()
            img = ImageOps.exif_transpose(img)
            if highest:
                spread = 255 if img.mode == 'L' else 65535
                return np.rint(np.asarray(img) * (highest / spread)).astype(np.uint16)
            if img.mode[0] not in 'IF':
                return img
            # Pillow applies it to 8 bits only.
            return 65535 - np.asarray(img) if tags and tags.get(_PHOTOMETRIC) == 0 else np.asarray(img)
    except FileNotFoundError as e:
        raise _missing(path) from e
    except IsADirectoryError as e:
        raise ImageReadError(f'{path}: a folder; expected an image file.') from e
    except UnidentifiedImageError:
        # Several channels of floats, and doubles, are beyond Pillow.
        return decode_by_opencv(path)
    except MemoryError as e:
        raise ImageReadError(f'{path}: does not fit the memory. Cut the image into parts.') from e
    except ImageReadError:
        raise
    except Exception as e:  # of a damaged file Pillow's decoders raise errors of any type, without its name
        raise _unreadable(path, e) from e


def _missing(path: str | Path) -> ImageReadError:
    what = f'a link to {Path(path).readlink()}, which is not there' if Path(path).is_symlink() else 'no such file'
    return ImageReadError(f'{path}: {what}. Check the path; in a config data_root and data_prefix.')


def _unreadable(path: str | Path, reason: object) -> ImageReadError:
    """Why a file is no image, and what to do."""
    try:
        with open(path, 'rb') as f:
            head = f.read(64)
    except (OSError, ValueError) as e:
        found = (getattr(e, 'strerror', None) or str(e)).lower()
        return ImageReadError(f'{path}: cannot be opened ({found}). Check the path and its permissions.')
    if head.startswith(b'version https://git-lfs'):
        reason, cure = 'it is a pointer of Git LFS', 'Run git lfs pull.'
    else:
        reason = reason if head else 'it is empty'
        cure = (
            'The file is damaged or incomplete, or of a format that is not read: fetch it again, convert it, or remove it '
            'together with its counterpart.'
        )
    return ImageReadError(f'{path}: cannot be read as an image ({reason}). {cure}')


def tiff_tags(path: str | Path) -> dict[int, Any] | None:
    """Read the tags of a TIFF's first image; None without."""
    try:
        with open(path, 'rb') as f:
            head = f.read(8)
            if head[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
                return None
            big = b'+' in head[:4]
            tags = TiffImagePlugin.ImageFileDirectory_v2(head + f.read(8) if big else head)
            f.seek(tags.next)
            tags.load(f)
            return {tag: tags[tag] for tag in (_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, EXTRA, _FORMAT) if tag in tags}
    except Exception:  # the decoders say what is wrong with the file
        return None


def _refuse_tiff(tags: dict[int, Any], path: str | Path) -> None:
    """Refuse TIFFs that the decoders read wrongly, without a word."""
    bits, samples = max(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    signed = 2 in tags.get(_FORMAT, ())
    if samples > 4:
        found, cure = f'{samples} channels', 'Save one, three or four of them'
    elif samples > 1 and bits > 8 and tags.get(_PLANES) == 2:
        found, cure = f'channels of {bits} bits, each by itself (planar)', 'Save them interleaved (contiguous)'
    elif signed and bits <= 8:
        found, cure = f'signed values of {bits} bits', 'Convert them to unsigned ones'
    elif tags.get(_PHOTOMETRIC) == 0 and bits > 8 and (bits != 16 or tags.get(_FORMAT, (1,))[0] != 1):
        found, cure = f'values of {bits} bits of which 0 is white (WhiteIsZero)', 'Save them with 0 as black'
    else:
        return
    raise ImageReadError(f'{path}: a TIFF file of {found}, which is not read. {cure}.')


def _refuse_pages(img: Image.Image, path: str | Path) -> None:
    """Refuse a file of several images; smaller versions are none."""
    pages = getattr(img, 'n_frames', 1) if img.format in _PAGED else 1
    if img.format == 'TIFF' and pages > 1:
        reduced = 0
        for page in range(1, pages):
            img.seek(page)
            reduced += int(img.tag_v2.get(254, 0)) & 1
        pages -= reduced
        img.seek(0)
    if pages > 1:
        raise ImageReadError(
            f'{path}: holds {pages} images (pages or frames); expected one. Write each of them to a file of its own.'
        )


def _highest(img: Image.Image) -> int | None:
    """Find the highest number that an opened grey file can hold.

    None where its decoder does not spread this to the full scale.
    """
    if img.mode not in ('L', 'I') or not img.tile:
        return None
    kind = img.tile[0][3]
    if img.format == 'PPM':
        return kind[1] if isinstance(kind, tuple) and isinstance(kind[1], int) and kind[1] > 0 else None
    bits = re.fullmatch(r'L;([24])', kind if isinstance(kind, str) else str(kind[0]))
    return 2 ** int(bits[1]) - 1 if bits else None


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array as EXIF says."""
    values = values.swapaxes(0, 1) if orientation > 4 else values
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(values[::rows, ::columns])


def _is_deep_colour(img: Image.Image, path: str | Path) -> bool:
    """Tell whether a file has several channels of 16 bits.

    Of these Pillow would keep the upper 8, and say nothing.
    """
    if img.mode[0] in 'IF':
        return False
    if img.format == 'JPEG2000':
        return len(img.getbands()) > 1 and decode_by_opencv(path).dtype == np.uint16
    if img.format == 'PPM':
        return any(tile[3] == ('RGB', 65535) for tile in img.tile)
    return img.format in ('PNG', 'TIFF') and any(';16' in str(tile[3]) for tile in img.tile)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing what an error then says in one sentence."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def decode_by_opencv(path: str | Path) -> np.ndarray:
    """Decode a file as it is, H×W or H×W×C, of any depth."""
    with open(path, 'rb') as f:
        data = np.frombuffer(f.read(), np.uint8)
    try:
        with quiet_opencv():
            values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        values = None
    if values is None:
        raise _unreadable(path, 'neither Pillow nor OpenCV decodes it')
    samples = (tiff_tags(path) or {}).get(_SAMPLES, 1)
    found = values.shape[2] if values.ndim == 3 else 1
    if samples > found:  # OpenCV keeps the first of several grey channels
        raise ImageReadError(
            f'{path}: a TIFF file of {samples} channels, of which {found} could be read. Save it as RGB with a '
            'fourth channel (photometric RGB), or each channel as a file.'
        )
    return values


def convert(img: Image.Image, mode: str, path: str | Path) -> Image.Image:
    """Convert an image to another of Pillow's modes.

    Raises:
        ImageReadError: If Pillow cannot convert it; the file is named.
    """
    try:
        return img.convert(mode)
    except ValueError as e:
        raise ImageReadError(f'{path}: an image of mode {img.mode} ({e}). Convert it to RGB or grey.') from e


def read_array(path: str | Path) -> np.ndarray:
    """Read an image or a map, H×W or H×W×C, from a ``.npy``.

    Raises:
        ImageReadError: If the file is missing, damaged, or holds something else.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as e:
        raise _missing(path) from e
    except Exception as e:  # as in open_image
        raise _unreadable(path, e) from e
    if not isinstance(values, np.ndarray):  # a renamed .npz
        raise ImageReadError(f'{path}: holds several arrays; expected one. Save it by numpy.save.')
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in 'buif':
        raise ImageReadError(
            f'{path}: an array of shape {values.shape} and type {values.dtype}; expected H×W or H×W×C (B, G, R) numbers.'
        )
    return values


def image_size(path: str | Path) -> tuple[int, int]:
    """Read an image's height and width from its header, not turned.

    (0, 0) of a file that cannot be read, which its reader will name.
    """
    try:
        if Path(path).suffix.lower() == '.npy':
            return np.load(path, mmap_mode='r', allow_pickle=False).shape[:2]
        with open_header(path) as img:
            return img.size[::-1]
    except Exception:  # as in open_image
        return (0, 0)


def orientation_of(img: Image.Image) -> int:
    """Read how an opened image is turned, as EXIF counts it."""
    return img.getexif().get(ExifTags.Base.Orientation, 1)


def read_orientation(path: str | Path) -> int:
    """Read the EXIF orientation of a camera's file (JPEG, TIFF, WebP).

    1 of an upright one, and of a file that has none or cannot be read.
    """
    try:
        with open_header(path) as img:
            return orientation_of(img) if img.format in ('JPEG', 'MPO', 'TIFF', 'WEBP') else 1
    except Exception:  # as in open_image
        return 1


def read_size(path: str | Path) -> tuple[int, int]:
    """Read an image's height and width, turned as EXIF says.

    Of most formats only the header is read.

    Raises:
        ImageReadError: If the file is missing or damaged.
    """
    try:
        with open_header(path) as img:
            # Pillow says of a TIFF the size after turning, or, of old, before.
            width, height = (img.tag_v2[256], img.tag_v2[257]) if img.format == 'TIFF' else img.size
            return (width, height) if orientation_of(img) > 4 else (height, width)
    except Exception:  # what Pillow does not read, or what open_image names
        img = open_image(path)
        return img.shape[:2] if isinstance(img, np.ndarray) else img.size[::-1]
