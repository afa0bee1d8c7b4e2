"""Reading and writing of images, the same for datasets, tools and inferencers.

Arrays are in OpenCV's order: a visible image is H×W×3 uint8 (B, G, R), an infrared image or a mask H×W uint8.
"""

import os
import re
import tempfile
import warnings
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .palettes import likely_palette, values_of
from .radiometric import is_radiometric, read_celsius
from .scaling import ImageReadError, parse_range, range_ends, refuse_infinite, scale_advice, scaled, to_8bit

# Files that can be written, and all that can be read.
WRITE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
IMG_SUFFIXES = (
    *WRITE_SUFFIXES, '.jp2', '.j2k', '.pgm', '.ppm', '.pbm', '.pnm', '.pfm', '.jfif', '.jpe', '.avif', '.npy',
)  # fmt: skip

# As many as OpenCV decodes. Pillow's own limit, a sixth of that, refuses maps and mosaics of people's own.
_MAX_PIXELS = 2**30
_PILLOW_LIMIT = Lock()
# Tags of TIFF: bits of each channel, what 0 means, number of channels, interleaved or not, what further channels are,
# integers or floats.
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
# Formats in which further images of a file are data; a JPEG's or an MPO's are previews.
_PAGED = ('TIFF', 'GIF', 'PNG', 'WEBP', 'AVIF')


# Channels of a grey picture saved as JPEG differ by less.
_COLOURED = 12
_NOTICED = set()
# Mean distance of a picture's colours to a palette, in levels, above which it is another palette.
_OTHER_PALETTE = 40
# Pixels and images of a sequence that its percentiles are taken from.
_SAMPLED_PIXELS, _SAMPLED_IMAGES = 20000, 100


def _header(path):
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


def _open(path):
    """Decode an image file.

    Returns:
        Image.Image | np.ndarray: An image of 8 bits or 1 bit a channel, turned as EXIF says; or what the file holds with
        more bits, H×W or H×W×C (B, G, R).
    """
    if Path(path).suffix.lower() == '.npy':
        return read_array(path)
    tags = _tiff_tags(path)
    if tags:
        _refuse_tiff(tags, path)
    try:
        with _header(path) as img:
            _refuse_pages(img, path)
            if tags and tags.get(_SAMPLES, 1) > len(img.getbands()):  # Pillow drops an unnamed fourth channel
                return _decode_by_opencv(path)
            if _is_deep_colour(img, path):
                return _decode_by_opencv(path)
            img.load()
            img = ImageOps.exif_transpose(img)
            if img.mode[0] not in 'IF':
                return img
            # Pillow applies it to 8 bits only.
            return 65535 - np.asarray(img) if tags and tags.get(_PHOTOMETRIC) == 0 else np.asarray(img)
    except FileNotFoundError as e:
        raise ImageReadError(f'{path}: no such file. Check the path; in a config data_root and data_prefix.') from e
    except IsADirectoryError as e:
        raise ImageReadError(f'{path}: a folder; expected an image file.') from e
    except UnidentifiedImageError:
        # Several channels of floats, and doubles, are beyond Pillow.
        return _decode_by_opencv(path)
    except MemoryError as e:
        raise ImageReadError(f'{path}: does not fit the memory. Cut the image into parts.') from e
    except ImageReadError:
        raise
    except Exception as e:  # of a damaged file Pillow's decoders raise errors of any type, without its name
        raise _unreadable(path, e) from e


def _unreadable(path, reason):
    """Why a file is no image, and what to do."""
    with open(path, 'rb') as f:
        head = f.read(64)
    if head.startswith(b'version https://git-lfs'):
        reason, cure = 'it is a pointer of Git LFS', 'Run git lfs pull.'
    else:
        reason = reason if head else 'it is empty'
        cure = (
            'The file is damaged or incomplete, or of a format that is not read: fetch it again, convert it, or remove it '
            'together with its counterpart.'
        )
    return ImageReadError(f'{path}: cannot be read as an image ({reason}). {cure}')


def _tiff_tags(path):
    """Read the tags of a TIFF file's first image; None of other files, and where they cannot be read."""
    try:
        with open(path, 'rb') as f:
            head = f.read(8)
            if head[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
                return None
            big = b'+' in head[:4]
            tags = TiffImagePlugin.ImageFileDirectory_v2(head + f.read(8) if big else head)
            f.seek(tags.next)
            tags.load(f)
            return {tag: tags[tag] for tag in (_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT) if tag in tags}
    except Exception:  # the decoders say what is wrong with the file
        return None


def _refuse_tiff(tags, path):
    """Refuse kinds of TIFF that the decoders read as other values, without a word."""
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


def _refuse_pages(img, path):
    """Refuse a file of several images; smaller versions of the first one, as in maps, are none."""
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


def _is_deep_colour(img, path):
    """Whether an opened file has several channels of 16 bits, of which Pillow would keep the upper 8 and say nothing."""
    if img.mode[0] in 'IF':
        return False
    if img.format == 'JPEG2000':
        return len(img.getbands()) > 1 and _decode_by_opencv(path).dtype == np.uint16
    if img.format == 'PPM':
        return any(tile[3] == ('RGB', 65535) for tile in img.tile)
    return img.format in ('PNG', 'TIFF') and any(';16' in str(tile[3]) for tile in img.tile)


def _decode_by_opencv(path):
    """Decode a file as it is, H×W or H×W×C (B, G, R), of any depth."""
    with open(path, 'rb') as f:
        data = np.frombuffer(f.read(), np.uint8)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # it would print what the error says in one sentence
    try:
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        values = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        raise _unreadable(path, 'neither Pillow nor OpenCV decodes it')
    samples = (_tiff_tags(path) or {}).get(_SAMPLES, 1)
    found = values.shape[2] if values.ndim == 3 else 1
    if samples > found:  # OpenCV keeps the first of several grey channels
        raise ImageReadError(
            f'{path}: a TIFF file of {samples} channels, of which {found} could be read. Save it as RGB with a '
            'fourth channel (photometric RGB), or each channel as a file.'
        )
    return values


def read_array(path):
    """Read an image or a map from a ``.npy``.

    Returns:
        np.ndarray: H×W or H×W×C numbers.

    Raises:
        ImageReadError: If the file is missing, damaged, or holds something else.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as e:
        raise ImageReadError(f'{path}: no such file. Check the path; in a config data_root and data_prefix.') from e
    except Exception as e:  # as in _open
        raise _unreadable(path, e) from e
    if not isinstance(values, np.ndarray):  # a renamed .npz
        raise ImageReadError(f'{path}: holds several arrays; expected one. Save it by numpy.save.')
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in 'buif':
        raise ImageReadError(
            f'{path}: an array of shape {values.shape} and type {values.dtype}; expected H×W or H×W×C (B, G, R) numbers.'
        )
    return values


def image_size(path):
    """Read the size of an image from its header; it may be turned by EXIF.

    Returns:
        tuple[int, int]: Height and width; (0, 0) of a file that cannot be read, which its reader will name.
    """
    try:
        if Path(path).suffix.lower() == '.npy':
            return np.load(path, mmap_mode='r', allow_pickle=False).shape[:2]
        with _header(path) as img:
            return img.size[::-1]
    except Exception:  # as in _open
        return (0, 0)


def read_size(path):
    """Read the size that an image has when it is read: turned as EXIF says.

    Args:
        path (str | Path): The file; of most formats only its header is read.

    Returns:
        tuple[int, int]: Height and width.

    Raises:
        ImageReadError: If the file is missing or damaged.
    """
    try:
        with _header(path) as img:
            return img.size if img.getexif().get(ExifTags.Base.Orientation, 1) > 4 else img.size[::-1]
    except Exception:  # what Pillow does not read, or what _open names
        img = _open(path)
        return img.shape[:2] if isinstance(img, np.ndarray) else img.size[::-1]


def sequence_range(files, ir_range=('0.5%', '99.5%'), ir_colormap=None):
    """Take percentiles of all images of a sequence together, so that its brightness does not flicker.

    Args:
        files (Sequence[str | Path | np.ndarray]): Infrared images; at most 100 of them, evenly spread, are read.
        ir_range (Sequence[str]): Two percentiles.
        ir_colormap (str, optional): See :func:`check_reading`.

    Returns:
        tuple[float, float]: The values at these percentiles, for ``ir_range``.

    Raises:
        ValueError: If ``ir_range`` are no percentiles.
    """
    ir_range = parse_range(ir_range)
    if not isinstance(ir_range[0], str):
        raise ValueError(
            f'ir_range={ir_range!r} of a sequence: expected percentiles, such as 1% 99%; numbers hold for all.'
        )
    files = list(files)
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), _SAMPLED_IMAGES)).astype(int))]
    samples = []
    for file in chosen:
        is_array = isinstance(file, np.ndarray)
        values = file if is_array else infrared_values(file, ir_range=ir_range, ir_colormap=ir_colormap)
        values = values.reshape(-1)
        refuse_infinite(values, 'a frame' if is_array else file)
        samples.append(values[:: max(1, values.size // _SAMPLED_PIXELS)].astype(np.float64))
    return range_ends(np.concatenate(samples), ir_range)


def read_visible(path, depth16='full'):
    """Read a visible image of any common kind: grey, RGB, RGBA, palette, 16-bit, floating-point, EXIF-rotated.

    Args:
        path (str | Path): The file; a ``.npy`` of colours is in B, G, R.
        depth16 (str): How more than 8 bits become 8: ``'full'`` (65535 or, of floating-point values, 1 → 255) or
            ``'stretch'`` (the 0.5 and 99.5 percentiles of the image become 0 and 255).

    Returns:
        np.ndarray: H×W×3 uint8, B, G, R. Transparency is dropped.

    Raises:
        ImageReadError: If the file is missing, damaged, or has values without a scale.
    """
    img = _open(path)
    if not isinstance(img, np.ndarray):
        return np.ascontiguousarray(np.asarray(_convert(img, 'RGB', path))[..., ::-1])
    if img.ndim == 3 and img.shape[2] == 4 and Path(path).suffix.lower() != '.npy':
        img = img[..., :3]
    return visible_array(img, path, depth16)


def visible_array(values, name, depth16='full'):
    """Check a visible array, and bring it to 8 bits.

    Args:
        values (np.ndarray): H×W, H×W×1 or H×W×3 (B, G, R) uint8, uint16, or floating point in [0, 1]; others by
            ``'stretch'``.
        name (str | Path): For messages.
        depth16 (str): As in :func:`read_visible`.

    Returns:
        np.ndarray: H×W×3 uint8.

    Raises:
        ImageReadError: If the shape is another, or values have no scale.
    """
    if values.ndim not in (2, 3) or 0 in values.shape or (values.ndim == 3 and values.shape[2] not in (1, 3)):
        raise ImageReadError(
            f'{name}: expected H×W×3 (B, G, R) or H×W, got shape {values.shape} of type {values.dtype}.'
            + (FOUR if values.ndim == 3 and values.shape[2] == 4 else '')
        )
    values = _checked(values, name, depth16)
    if values.ndim == 2 or values.shape[2] == 1:
        return np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    return values


def read_infrared(path, depth16='full', ir_range=None, ir_colormap=None):
    """Read an infrared image as one channel.

    A file in colours is turned back to values by its palette; without ``ir_colormap``, to grey by BT.601, with a warning if
    it is coloured.

    Args:
        path (str | Path): The file.
        depth16, ir_range, ir_colormap: As in :func:`check_reading`.

    Returns:
        np.ndarray: H×W uint8.

    Raises:
        ImageReadError: If the file is missing, damaged, has values without a scale, or a fourth channel, which may be the
            infrared one.
    """
    return infrared_array(infrared_values(path, depth16, ir_range, ir_colormap), path, depth16, ir_range)


def infrared_values(path, depth16='full', ir_range=None, ir_colormap=None):
    """Read an infrared file with the values that it has, for :func:`infrared_array` to bring to 8 bits.

    Args:
        path (str | Path): The file.
        depth16, ir_range, ir_colormap: As in :func:`check_reading`; with a range and without a palette, radiometric JPEGs
            give their temperatures in °C.

    Returns:
        np.ndarray: H×W (or a shape that :func:`infrared_array` refuses), of any type.

    Raises:
        ImageReadError: As in :func:`read_infrared`.
    """
    if is_radiometric(path):
        if ir_range is not None and ir_colormap is None:
            return _temperatures(path)
        _warn_of_temperatures(path)
    img = _open(path)
    if isinstance(img, np.ndarray):
        if img.ndim == 2 or img.shape[2] == 1 or Path(path).suffix.lower() == '.npy':
            return img
        _refuse_fourth(img, path)
        img = Image.fromarray(np.ascontiguousarray(visible_array(img[..., :3], path, depth16)[..., ::-1]))
    else:
        _refuse_fourth(img, path)
    if img.mode not in ('L', '1', 'RGB'):
        img = _convert(img, 'RGB', path)
    if img.mode != 'RGB':
        return np.array(img.convert('L'))
    if ir_colormap is None:
        _warn_of_pseudo_colour(np.asarray(img), path)
        return np.array(img.convert('L'))
    return _from_colours(np.asarray(img), path, ir_colormap)


def _temperatures(path):
    """Temperatures of a radiometric JPEG in °C, H×W float32, at the size of its picture and turned like it."""
    try:
        celsius = read_celsius(path)
    except ImportError as e:
        raise ImageReadError(
            f'{path}: its temperatures, of which ir_range (--ir-range) is, are read by the package flyr: pip install flyr.'
        ) from e
    except Exception as e:  # of files that it does not know flyr raises errors of any type
        raise ImageReadError(
            f'{path}: flyr cannot read its temperatures ({type(e).__name__}: {e}). Leave out ir_range (--ir-range) to read '
            'the picture, or export the temperatures as TIFF.'
        ) from e
    with _header(path) as img:
        size, orientation = img.size, img.getexif().get(ExifTags.Base.Orientation, 1)
    thermal = Image.fromarray(cv2.resize(celsius, size, interpolation=cv2.INTER_LINEAR))
    thermal.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(thermal))


def _warn_of_temperatures(path):
    """Say once a folder that the picture of a radiometric JPEG is read."""
    key = ('radiometric', Path(path).parent)
    if key not in _NOTICED:
        _NOTICED.add(key)
        warnings.warn(
            f'{path}: a radiometric JPEG of a thermal camera, of which the picture is read, whose colours and range differ '
            'from image to image. Its temperatures are read where a range is given, in °C or as percentiles: '
            'ir_range=(10, 40) (--ir-range 10 40).',
            stacklevel=4,
        )


def frame_values(frame, name, ir_colormap=None):
    """Turn a frame of an infrared video, H×W×3 uint8 (B, G, R), into one channel, as :func:`read_infrared` does a file.

    Args:
        frame (np.ndarray): The frame; H×W is given back as it is.
        name (str): For messages.
        ir_colormap (str, optional): As in :func:`check_reading`.

    Returns:
        np.ndarray: H×W.
    """
    if frame.ndim == 2:
        return frame
    if ir_colormap is not None:
        return _from_colours(frame[..., ::-1], name, ir_colormap)
    _warn_of_pseudo_colour(frame[..., ::-1], name)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def _from_colours(image, path, ir_colormap):
    """Values of a picture in the colours of a palette, H×W uint8."""
    values, distance = values_of(image, ir_colormap)
    if distance > _OTHER_PALETTE:
        near = likely_palette(image)
        raise ImageReadError(
            f'{path}: its colours are not those of ir_colormap={ir_colormap!r} ({distance:.0f} levels away on average)'
            + (
                f'; {near!r} is near.'
                if near
                else '. Give an image of the palette, such as the colour bar of the picture.'
            )
        )
    return values.round().astype(np.uint8)


def _warn_of_pseudo_colour(image, path):
    """Notice a palette such as iron or jet, whose luminance does not rise with heat."""
    # One warning for all images of a folder, and for all frames of a video.
    folder = Path(path).parent if Path(path).suffix.lower() in IMG_SUFFIXES else path
    if folder in _NOTICED:
        return
    spread = image.max(2).astype(np.int16) - image.min(2)
    if spread.mean() > _COLOURED:
        near = likely_palette(image)
        _NOTICED.add(folder)
        warnings.warn(
            f'{path}: an infrared image in colours (channels differ by {spread.mean():.0f} levels on average), as cameras '
            'write with a palette: its luminance does not rise with heat. Export it in grey (white hot), or name the '
            f'palette (ir_colormap, --ir-colormap){f": {near} is nearest" if near else ""}.',
            stacklevel=3,
        )


def infrared_array(values, name, depth16='full', ir_range=None):
    """Check an infrared array, H×W or H×W×1, and bring it to H×W of 8 bits.

    Args:
        values (np.ndarray): uint8, uint16, or floating point in [0, 1]; others by ``'stretch'`` or a range.
        name (str | Path): For messages.
        depth16, ir_range: As in :func:`check_reading`.

    Returns:
        np.ndarray: H×W uint8.

    Raises:
        ImageReadError: If the shape is another, or values have no scale.
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
        return scaled(values, *range_ends(values, parse_range(ir_range)))
    return _checked(values, name, depth16)


def _checked(values, name, depth16):
    """An array as uint8; without stretching, integers of other types than these have no scale."""
    known = values.dtype.kind in 'bf' or values.dtype.str[1:] in ('u1', 'u2', 'i4')  # Pillow gives 16 bits as i4, too
    if not known and (depth16 != 'stretch' or values.dtype.kind not in 'ui'):
        raise ImageReadError(
            f'{name}: expected uint8, uint16 or floating point from 0 to 1, got type {values.dtype}. '
            f'{scale_advice(depth16)}.'
        )
    return to_8bit(values, name, depth16)


FOUR = ' Files whose fourth channel is thermal are given alone: ir=None, data_prefix=dict(rgbt_path=…), or --rgbt DIR.'


def _refuse_fourth(img, path):
    """Refuse an infrared image whose last channel, if it is transparency, is not opaque throughout."""
    if isinstance(img, np.ndarray):
        last = img[..., 3] if img.ndim == 3 and img.shape[2] == 4 else None
    else:
        last = np.asarray(img)[..., -1] if img.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') else None
    if last is not None and not _opaque(last):
        raise ImageReadError(
            f'{path}: an infrared image with a fourth channel, or with transparency, that would be dropped; expected one or '
            f'three channels.{FOUR}'
        )


def _opaque(channel):
    """Whether a channel has its highest value everywhere, as transparency has that hides nothing."""
    return (channel == (np.iinfo(channel.dtype).max if channel.dtype.kind in 'iu' else 1)).all()


def _convert(img, mode, path):
    try:
        return img.convert(mode)
    except ValueError as e:
        raise ImageReadError(f'{path}: an image of mode {img.mode} ({e}). Convert it to RGB or grey.') from e


def remove_unfinished(folder):
    """Remove the temporary files that a killed run of :func:`write_bytes` left in a folder and below it."""
    for file in Path(folder).rglob('.*.tmp'):
        if re.fullmatch(r'\..+\.\w+\.[a-z0-9_]{8}\.tmp', file.name):
            file.unlink(missing_ok=True)


def read_mask(path):
    """Read a binary mask (0 and anything else, by custom 255).

    A mask that lost its edges to a lossy format, such as JPEG, is cut at half its range, with a warning: there 0 became
    values up to 20 around objects.

    Returns:
        np.ndarray: H×W uint8 of 0 and 1.

    Raises:
        ImageReadError: The file is missing or damaged, with its path.
    """
    img = _open(path)
    # A mask of 16 bits may count to 1 only, which no scale to 8 bits would leave standing.
    values = img if isinstance(img, np.ndarray) else np.asarray(_convert(_convert(img, 'RGB', path), 'L', path))
    if values.ndim == 3:
        values = values[..., :3].any(2)
    levels = np.unique(values)
    lossy = str(path).lower().endswith(('.jpg', '.jpeg')) or len(levels) > 16
    if lossy and levels[-1] > 127 and len(levels) > 2:
        warnings.warn(
            f'{path}: a mask of {len(levels)} levels, as a lossy format makes of 0 and 255: cut at half its range. Save '
            'masks as PNG.',
            stacklevel=2,
        )
        return (values > levels[-1] / 2).astype(np.uint8)
    return (values > 0).astype(np.uint8)


def read_label_map(path):
    """Read a map of class indices: 8-bit grey, palette (its indices, not its colours), 16-bit or 1-bit.

    Returns:
        np.ndarray: H×W uint8.

    Raises:
        ImageReadError: The file is missing or damaged, has colours instead of indices, or an index above 255.
    """
    img = _open(path)
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


def read_four_channels(path, depth16='full', ir_range=None):
    """Read a file whose four channels are R, G, B and thermal (MFNet's form).

    Args:
        path (str | Path): The file; a ``.npy`` is in B, G, R, IR.
        depth16, ir_range: As in :func:`check_reading`; colours and thermal channel each have their own scale.

    Returns:
        np.ndarray: H×W×4 uint8, B, G, R, IR.

    Raises:
        ImageReadError: If the file is missing or damaged, or has not four channels.
    """
    img = _open(path)
    if (_tiff_tags(path) or {}).get(_EXTRA, (0,))[0] == 1:  # Pillow would divide the colours by this "transparency"
        img = _decode_by_opencv(path)
    if not isinstance(img, np.ndarray) and img.mode in ('RGBA', 'RGBX'):
        img = np.asarray(img)[..., [2, 1, 0, 3]]
    if isinstance(img, np.ndarray) and img.ndim == 3 and img.shape[2] == 4:
        if _opaque(img[..., 3]):
            raise ImageReadError(
                f'{path}: the fourth channel is opaque transparency, its highest value everywhere; expected a thermal one.'
            )
        return rgbt_array(img, path, depth16, ir_range)
    found = f'an array of shape {img.shape}' if isinstance(img, np.ndarray) else f'an image of mode {img.mode}'
    raise ImageReadError(
        f'{path}: expected four channels (R, G, B, thermal), found {found}. Pairs in two files are given as two files or '
        'folders (vi and ir).'
    )


def rgbt_array(values, name, depth16='full', ir_range=None):
    """Check a pair in one array, H×W×4 (B, G, R, IR), and bring it to 8 bits.

    Raises:
        ImageReadError: If the shape is another, or values have no scale.
    """
    if values.ndim != 3 or values.shape[2] != 4:
        raise ImageReadError(f'{name}: expected H×W×4 (B, G, R, IR), got shape {values.shape} of type {values.dtype}.')
    vi, ir = visible_array(values[..., :3], name, depth16), infrared_array(values[..., 3], name, depth16, ir_range)
    return np.concatenate([vi, ir[..., None]], axis=2)


def read_pair(vi, ir=None, depth16='full', ir_range=None, ir_colormap=None):
    """Read a visible and an infrared image.

    Args:
        vi, ir (str | Path): Two files; or one, whose four channels are R, G, B and thermal, given alone or for both.
        depth16, ir_range, ir_colormap: As in :func:`check_reading`.

    Returns:
        tuple[np.ndarray, np.ndarray]: H×W×3 (B, G, R) and H×W uint8.
    """
    if ir is None or str(vi) == str(ir):
        pair = read_four_channels(vi, depth16, ir_range)
        return pair[..., :3], pair[..., 3]
    return read_visible(vi, depth16), read_infrared(ir, depth16, ir_range, ir_colormap)


def read_shown(path, depth16='full', infrared=False, ir_range=None, ir_colormap=None):
    """Read an image as it is measured or shown: grey stays one channel.

    Args:
        path (str | Path): The file.
        depth16 (str): As in :func:`check_reading`; ``'result'`` for a fused image, which is never stretched.
        infrared (bool): Refuse a fourth channel, as :func:`read_infrared` does.
        ir_range, ir_colormap: As in :func:`check_reading`, of an infrared image.

    Returns:
        np.ndarray: H×W×3 (B, G, R) uint8, or H×W where the file has one channel.

    Raises:
        ImageReadError: If the file is missing, damaged, or has values without a scale.
    """
    if infrared and (ir_range is not None or ir_colormap is not None):
        return read_infrared(path, depth16, ir_range, ir_colormap)
    img = _open(path)
    if infrared:
        _refuse_fourth(img, path)
    if isinstance(img, np.ndarray):
        grey = img.ndim == 2 or img.shape[2] == 1
        img = img[..., :3] if img.ndim == 3 and img.shape[2] == 4 else img
    else:
        grey = img.mode in ('1', 'L', 'LA')
        img = np.asarray(_convert(img, 'RGB', path))[..., ::-1]
    image = np.ascontiguousarray(visible_array(img, path, depth16))
    return image[..., 0].copy() if grey else image


def write_image(path, img):
    """Write an image under a temporary name and rename it, so that a killed run leaves no half of a file.

    Args:
        path (str | Path): Where to; the suffix chooses the format. Folders are made.
        img (np.ndarray): H×W, H×W×3 (B, G, R) or, as PNG, H×W×4 uint8.

    Raises:
        ValueError: The suffix is of no known image format, or the array is not uint8.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITE_SUFFIXES:
        raise ValueError(f'{path}: unknown image suffix {path.suffix!r}; expected one of {", ".join(WRITE_SUFFIXES)}')
    if img.dtype != np.uint8:
        raise ValueError(f'{path}: an image to write must be uint8, got {img.dtype}')
    ok, buffer = cv2.imencode(path.suffix, img)
    if not ok:
        raise ValueError(f'{path}: an array of shape {img.shape} cannot be encoded as {path.suffix}')
    write_bytes(path, buffer.tobytes())


def write_bytes(path, data):
    """Write ``data`` (bytes) to ``path`` through a temporary file in the same folder and a rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp')
    try:
        with os.fdopen(fd, 'wb') as f:
            f.write(data)
        # mkstemp makes private files; give them what an ordinary open() would.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(tmp, 0o666 & ~umask)
        os.replace(tmp, path)
    except BaseException:
        if os.path.exists(tmp):
            os.unlink(tmp)
        raise


def refuse_equal(vi, ir, vi_name, ir_name):
    """Refuse a pair whose infrared image is the visible one, such as a copy of its file.

    Args:
        vi (np.ndarray): H×W×3 uint8 (B, G, R) or H×W.
        ir (np.ndarray): The same, of the same size.
        vi_name, ir_name (str | Path): For the message.

    Raises:
        ValueError: If they are equal in every pixel; images of one value, such as black frames, pass.
    """
    few = slice(None, None, 8)  # other pairs differ here already
    if all(np.array_equal(_as_grey(vi[part]), _as_grey(ir[part])) for part in ((few, few), ())) and np.ptp(ir):
        raise ValueError(
            f'{ir_name}: in every pixel the same picture as {vi_name}, which would fuse an image with itself. Give the '
            'infrared image.'
        )


def _as_grey(image):
    """Grey as :func:`read_infrared` makes it of colours."""
    return (
        image if image.ndim == 2 else np.asarray(Image.fromarray(np.ascontiguousarray(image[..., ::-1])).convert('L'))
    )
