"""Reading of infrared images: grey, in a palette's colours, or temperatures."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from .arrays import FOUR, infrared_array, visible_array
from .decoding import IMG_SUFFIXES, convert, open_header, open_image, orientation_of
from .palettes import likely_palette, values_of
from .radiometric import is_radiometric, read_celsius
from .scaling import ImageReadError, parse_range, range_ends, refuse_infinite

# Channels of a grey picture saved as JPEG differ by less.
_COLOURED = 12
_NOTICED = set()
# Mean distance of a picture's colours to a palette, in levels, above which it is another palette.
_OTHER_PALETTE = 40
# Pixels and images of a sequence that its percentiles are taken from.
_SAMPLED_PIXELS, _SAMPLED_IMAGES = 20000, 100


def read_infrared(
    path: str | Path,
    depth16: str = 'full',
    ir_range: Sequence[float | str] | None = None,
    ir_colormap: str | None = None,
) -> np.ndarray:
    """Read an infrared image as one channel, H×W uint8.

    A file in colours is turned back to values by its palette; without ``ir_colormap``, to grey by BT.601, with a warning if
    it is coloured. Options are those of :func:`check_reading`.

    Raises:
        ImageReadError: If the file is missing, damaged, has values without a scale, or a fourth channel, which may be the
            infrared one.
    """
    return infrared_array(infrared_values(path, depth16, ir_range, ir_colormap), path, depth16, ir_range)


def infrared_values(
    path: str | Path,
    depth16: str = 'full',
    ir_range: Sequence[float | str] | None = None,
    ir_colormap: str | None = None,
) -> np.ndarray:
    """Read an infrared file's own values, for :func:`infrared_array`.

    H×W (or a shape that it refuses), of any type. With a range and without a palette, radiometric JPEGs give their
    temperatures in °C. Options are those of :func:`check_reading`.

    Raises:
        ImageReadError: As in :func:`read_infrared`.
    """
    if is_radiometric(path):
        if ir_range is not None and ir_colormap is None:
            return _temperatures(path)
        _warn_of_temperatures(path)
    img = open_image(path, stored=ir_range is not None)  # a range is in the file's own numbers
    if isinstance(img, np.ndarray):
        if img.ndim == 2 or img.shape[2] == 1 or Path(path).suffix.lower() == '.npy':
            return img
        refuse_fourth(img, path)
        if (img[..., :3] == img[..., :1]).all():  # grey saved as colour: a range is in its own unit
            return img[..., 0]
        img = Image.fromarray(np.ascontiguousarray(visible_array(img[..., :3], path, depth16)[..., ::-1]))
    else:
        refuse_fourth(img, path)
    if img.mode not in ('L', '1', 'RGB'):
        img = convert(img, 'RGB', path)
    if img.mode != 'RGB':
        return np.array(img.convert('L'))
    if ir_colormap is None:
        _warn_of_pseudo_colour(np.asarray(img), path)
        return np.array(img.convert('L'))
    return _from_colours(np.asarray(img), path, ir_colormap)


def frame_values(frame: np.ndarray, name: str, ir_colormap: str | None = None) -> np.ndarray:
    """Turn a frame of an infrared video into one channel.

    H×W×3 uint8 (B, G, R) is read as :func:`read_infrared` does a file, H×W is given back; ``name`` is for messages.
    """
    if frame.ndim == 2:
        return frame
    if ir_colormap is not None:
        return _from_colours(frame[..., ::-1], name, ir_colormap)
    _warn_of_pseudo_colour(frame[..., ::-1], name)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def sequence_range(
    files: Iterable[str | Path | np.ndarray],
    ir_range: Sequence[str] = ('0.5%', '99.5%'),
    ir_colormap: str | None = None,
) -> tuple[float, float]:
    """Take a whole sequence's percentiles, so that its brightness does not flicker.

    At most 100 infrared images, evenly spread, are read. The values at the percentiles are for ``ir_range``.

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


def _temperatures(path: str | Path) -> np.ndarray:
    """Temperatures of a radiometric JPEG in °C, at its picture's size."""
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
    with open_header(path) as img:
        size, orientation = img.size, orientation_of(img)
    thermal = Image.fromarray(cv2.resize(celsius, size, interpolation=cv2.INTER_LINEAR))
    thermal.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(thermal))


def _warn_of_temperatures(path: str | Path) -> None:
    """Say once a folder that a radiometric JPEG's picture is read."""
    key = ('radiometric', Path(path).parent)
    if key not in _NOTICED:
        _NOTICED.add(key)
        warnings.warn(
            f'{path}: a radiometric JPEG of a thermal camera, of which the picture is read, whose colours and range differ '
            'from image to image. Its temperatures are read where a range is given, in °C or as percentiles: '
            'ir_range=(10, 40) (--ir-range 10 40).',
            stacklevel=4,
        )


def _from_colours(image: np.ndarray, path: str | Path, ir_colormap: str) -> np.ndarray:
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


def _warn_of_pseudo_colour(image: np.ndarray, path: str | Path) -> None:
    """Notice a palette whose luminance does not rise with heat."""
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


def refuse_fourth(img: Image.Image | np.ndarray, path: str | Path) -> None:
    """Refuse an infrared image with a fourth channel that is not opaque."""
    if isinstance(img, np.ndarray):
        last = img[..., 3] if img.ndim == 3 and img.shape[2] == 4 else None
    else:
        last = np.asarray(img)[..., -1] if img.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') else None
    if last is not None and not opaque(last):
        raise ImageReadError(
            f'{path}: an infrared image with a fourth channel, or with transparency, that would be dropped; expected one or '
            f'three channels.{FOUR}'
        )


def opaque(channel: np.ndarray) -> bool:
    """Tell whether a channel has its highest value everywhere, hiding nothing."""
    return (channel == (np.iinfo(channel.dtype).max if channel.dtype.kind in 'iu' else 1)).all()
