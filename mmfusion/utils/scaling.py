"""From numbers of any depth and scale to 8 bits."""

import math
import warnings
from pathlib import Path

import numpy as np

from .alignment import camera_pair
from .palettes import palette

DEPTH16 = ('full', 'stretch')
_NOTICED = set()
_READING = ('depth16', 'ir_range', 'ir_colormap', 'align')


class ImageReadError(ValueError):
    """An image file that is missing, damaged, or of unknown values."""


def check_reading(depth16='full', ir_range=None, ir_colormap=None, align=None):
    """Check the options of reading images: to 8 bits, and aligned.

    Args:
        depth16 (str): How more than 8 bits become 8: ``'full'`` (65535 or, of floating-point values, 1 → 255) or
            ``'stretch'`` (the 0.5 and 99.5 percentiles of the image become 0 and 255).
        ir_range (Sequence[float | str], optional): The infrared values that become 0 and 255, in the file's unit, or in °C
            of radiometric JPEGs; or percentiles of the image, such as ``('1%', '99%')``. Values beyond are cut.
        ir_colormap (str, optional): The palette of infrared images in colours, which are turned back into values; see
            :func:`~mmfusion.utils.palettes.palette`.
        align (str | Path | Mapping | CameraPair, optional): Where the infrared image lies in the visible one: a file of
            ``mmfusion align``, or its content.

    Returns:
        dict: What was given, without options that are None; numbers are floats, ``align`` is the file's content.

    Raises:
        ValueError: If one is not of this form.
    """
    if depth16 not in DEPTH16:
        raise ValueError(f"depth16 must be 'full' or 'stretch', got {depth16!r}")
    found = dict(depth16=depth16)
    if ir_range is not None:
        found['ir_range'] = parse_range(ir_range)
    if ir_colormap is not None:
        palette(ir_colormap)
        found['ir_colormap'] = ir_colormap
    if align is not None:
        found['align'] = camera_pair(align).to_dict()
    return found


def given_reading(options):
    """Pick the given ones (not None) of :func:`check_reading`'s options."""
    return {key: options[key] for key in _READING if options.get(key) is not None}


def values_reading(reading):
    """Pick the options of an infrared file's values: all but ``align``."""
    return {key: value for key, value in reading.items() if key != 'align'}


def parse_range(ends):
    """Two numbers, or two percentiles as text."""
    try:
        low, high = ends
        percent = [str(end).strip().endswith('%') for end in (low, high)]
        numbers = [float(str(end).strip().rstrip('%')) for end in (low, high)]
        if (
            percent[0] != percent[1]
            or not -math.inf < numbers[0] < numbers[1] < math.inf
            or (percent[0] and not 0 <= numbers[0] < numbers[1] <= 100)
        ):
            raise ValueError
    except (ValueError, TypeError) as e:
        raise ValueError(
            f'ir_range (--ir-range) is {ends!r}; expected two numbers, the lower one first, such as 7000 9000, or two '
            'percentiles, such as 1% 99%.'
        ) from e
    return tuple(f'{number:g}%' if percent[0] else number for number in numbers)


def range_ends(values, ir_range):
    """The values at both ends of a range, which may be percentiles."""
    if isinstance(ir_range[0], str):
        low, high = np.percentile(values, [float(end.rstrip('%')) for end in ir_range])
        return float(low), float(max(high, low + 1e-6))
    return ir_range


def refuse_infinite(values, name):
    """Refuse an image with NaN or infinite values, by ``name``."""
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise ImageReadError(f'{name}: holds NaN or infinite values; an image must be finite. Convert it again.')


def scaled(values, low, high):
    """Values as uint8; ``low`` becomes 0, ``high`` 255."""
    # In double the difference is exact for all that a file may hold, such as −3e38 where there are no data.
    values = values.astype(np.float64)
    values -= low
    values *= 255 / (high - low)
    return np.clip(values, 0, 255, out=values).round().astype(np.uint8)


def _warn_once(name: str | Path, what: str, depth16: str) -> None:
    """Say once a folder that 16 bits are used in a small part."""
    folder = Path(name).parent if Path(name).suffix else None  # an array has no file's name
    if folder in _NOTICED:
        return
    if folder is not None:
        _NOTICED.add(folder)
    warnings.warn(f'{name}: {what}. {scale_advice(depth16)}.', stacklevel=4)


def to_8bit(values, name, depth16='full'):
    """Bring an array of numbers to 8 bits.

    uint8 stays as it is. By ``'full'`` scale, 65535 and, of floating-point values in [0, 1], 1 become 255; by ``'stretch'``
    the 0.5 and 99.5 percentiles become 0 and 255.

    Raises:
        ImageReadError: If a value is NaN or infinite, or values have no full scale; by ``name``. By ``'result'``, also if
            they fill next to nothing of it.
    """
    if values.dtype == np.uint8:
        if depth16 == 'result' and values.max() == 1:
            _refuse_unscaled(f'{name}: 8 bits, and no value but 0 and 1', 'floating-point values from 0 to 1')
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    is_float = values.dtype.kind == 'f'
    refuse_infinite(values, name)
    if depth16 == 'stretch':
        low, high = range_ends(values, ('0.5%', '99.5%'))
        if high - low <= 1e-6:
            warnings.warn(
                f'{name}: nearly all values are {low:g}: stretched, the image is black but for what differs. Is it a frame '
                'without a picture?',
                stacklevel=3,
            )
        return scaled(values, low, high)
    low, high = values.min(), values.max()
    if is_float:
        if low < 0 or high > 1:
            raise ImageReadError(
                f'{name}: floating-point values from {low:g} to {high:g} have no full scale; expected 0 to 1. '
                f'{scale_advice(depth16)}.'
            )
        return np.round(values * values.dtype.type(255)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise ImageReadError(f'{name}: values from {low:g} to {high:g} do not fit 16 bits. {scale_advice(depth16)}.')
    if depth16 == 'result' and 0 < high < 256:
        _refuse_unscaled(f'{name}: 16 bits, and no value above {high:.0f}', 'values of 8 bits')
    if 0 < high < 16384:
        _warn_once(name, f'a 16-bit image whose highest value is {high:.0f} of 65535 will be very dark', depth16)
    elif 0 < high - low < 8192:  # Kelvin × 100 in 8 bits: a dozen grey levels, in which nothing is seen
        what = f'a 16-bit image whose values, from {low:.0f} to {high:.0f} of 65535, will be nearly one grey'
        _warn_once(name, what, depth16)
    return np.round(values.astype(np.float32) / 257).astype(np.uint8)


def _refuse_unscaled(found, kind):
    """Refuse a fused image that was saved without scaling."""
    raise ImageReadError(
        f'{found}, as {kind} that were saved without scaling: the image is black. {scale_advice("result")}.'
    )


def scale_advice(depth16):
    """What to do with values of no known scale."""
    if depth16 == 'result':
        return 'Save the fused image with 8 bits, with 16 bits up to 65535, or as floating-point values from 0 to 1'
    return (
        'If it is raw thermal data, give the values that become black and white as ir_range=(LO, HI) (--ir-range LO HI), or '
        "set depth16='stretch' (--depth16 stretch); otherwise convert the file to 8 bits, or to floating-point values from "
        '0 to 1'
    )


def to_uint8(image):
    """Round a tensor of images in [0, 1] to 8 bits, cutting others.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    import torch  # here, since reading and pairing of files do without it

    image = image.detach().float()
    if image.numel() and not all(bound.isfinite() for bound in image.aminmax()):
        raise ValueError('the image holds NaN or infinite values: the network diverged or divides by zero')
    return image.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def to_bgr(image):
    """Turn 3×H×W in [0, 1] (R, G, B) into H×W×3 uint8."""
    return np.ascontiguousarray(to_uint8(image).permute(1, 2, 0).cpu().numpy()[..., ::-1])
