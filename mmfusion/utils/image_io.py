"""Reading and writing of images, the same for datasets, tools and inferencers.

Arrays are in OpenCV's order: a visible image is H×W×3 uint8 (B, G, R), an infrared image or a mask H×W uint8.
"""

import os
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

IMG_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')

_MODES_16 = ('I', 'I;16', 'I;16L', 'I;16B', 'I;16N', 'F')


class ImageReadError(ValueError):
    """An image file is missing, cannot be decoded, or has values that mmfusion does not know how to read."""


def _open(path):
    try:
        with Image.open(path) as img:
            img.load()
            return ImageOps.exif_transpose(img)
    except FileNotFoundError as e:
        raise ImageReadError(f'{path}: no such file. Check data_root and data_prefix of the dataset.') from e
    except (UnidentifiedImageError, OSError, SyntaxError) as e:
        raise ImageReadError(
            f'{path}: cannot be read as an image ({e}). The file is damaged or incomplete: fetch it again, or remove '
            'it together with its counterpart.'
        ) from e


def _is_deep_colour(path):
    """Whether a file has several channels of 16 bits, of which PIL would keep the upper 8 and say nothing."""
    with Image.open(path) as img:
        if img.format not in ('PNG', 'TIFF') or img.mode in _MODES_16:
            return False
        return any(';16' in str(tile[3]) for tile in img.tile)


def _deep_colour(path, depth16):
    """Read a colour image of 16 bits a channel as H×W×3 uint8 (B, G, R)."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ImageReadError(f'{path}: a 16-bit colour image that cannot be decoded. Convert it to 8 bits.')
    return _to_8bit(values[..., :3], path, depth16)


def _to_8bit(values, path, depth16):
    """Bring an array of more than 8 bits to 8: by its full scale, or stretched between two percentiles."""
    is_float = values.dtype.kind == 'f'
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageReadError(f'{path}: holds NaN or infinite values; an image must be finite. Convert it again.')
    if depth16 == 'stretch':
        low, high = np.percentile(values, (0.5, 99.5))
        values = (values - low) / max(high - low, 1e-6) * 255
    else:
        if is_float:
            raise ImageReadError(
                f'{path}: floating-point values from {values.min():g} to {values.max():g} have no full scale. Use '
                "depth16='stretch', or convert the file to integers."
            )
        if values.min() < 0 or values.max() > 65535:
            raise ImageReadError(
                f"{path}: values from {values.min():g} to {values.max():g} do not fit 16 bits. Use depth16='stretch'."
            )
        if 0 < values.max() < 16384:
            warnings.warn(
                f'{path}: a 16-bit image whose highest value is {values.max():.0f} of 65535 will be very dark. If it '
                "is raw thermal data, set depth16='stretch'.",
                stacklevel=3,
            )
        values = values / 257
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def read_visible(path, depth16='full'):
    """Read a visible image of any common kind: grey, RGB, RGBA, palette, 16-bit, EXIF-rotated.

    Args:
        path (str | Path): The file.
        depth16 (str): How more than 8 bits become 8: ``'full'`` (65535 → 255) or ``'stretch'`` (the 0.5 and 99.5
            percentiles of the image become 0 and 255).

    Returns:
        np.ndarray: H×W×3 uint8, B, G, R. Transparency is dropped.

    Raises:
        ImageReadError: The file is missing or damaged, with its path.
    """
    img = _open(path)
    if img.mode in _MODES_16:
        grey = _to_8bit(np.asarray(img), path, depth16)
        return np.repeat(grey[..., None], 3, axis=2)
    if _is_deep_colour(path):
        return _deep_colour(path, depth16)
    return np.ascontiguousarray(np.asarray(img.convert('RGB'))[..., ::-1])


def read_infrared(path, depth16='full'):
    """Read an infrared image as one channel; a colour file is turned to grey by BT.601.

    Args:
        path (str | Path): The file.
        depth16 (str): As in :func:`read_visible`.

    Returns:
        np.ndarray: H×W uint8.

    Raises:
        ImageReadError: The file is missing or damaged, with its path.
    """
    img = _open(path)
    if img.mode in _MODES_16:
        return _to_8bit(np.asarray(img), path, depth16)
    if _is_deep_colour(path):
        img = Image.fromarray(np.ascontiguousarray(_deep_colour(path, depth16)[..., ::-1]))
    if img.mode in ('P', 'PA', 'RGBA', 'LA', 'CMYK'):
        img = img.convert('RGB')
    return np.array(img.convert('L'))


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
    values = np.asarray(img) if img.mode in _MODES_16 else read_infrared(path)
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
    if img.mode not in ('L', 'P', '1', *_MODES_16):
        raise ImageReadError(
            f'{path}: a label map must have one channel of class indices, found an image of mode {img.mode}. Is it a '
            'coloured picture of the labels?'
        )
    labels = np.asarray(img)
    if labels.min() < 0 or labels.max() > 255 or (labels != np.floor(labels)).any():
        raise ImageReadError(f'{path}: labels from {labels.min()} to {labels.max()}; expected whole numbers, 0 to 255')
    return labels.astype(np.uint8)


def read_four_channels(path):
    """Read a file whose four channels are R, G, B and thermal (MFNet's form).

    Returns:
        np.ndarray: H×W×4 uint8, B, G, R, IR.

    Raises:
        ImageReadError: The file is missing or damaged, or has not four channels of 8 bits.
    """
    img = _open(path)
    if img.mode != 'RGBA':
        raise ImageReadError(
            f'{path}: expected four channels of 8 bits (R, G, B, thermal), found an image of mode {img.mode}. Pairs in '
            'two files are read by LoadImagePair.'
        )
    return np.ascontiguousarray(np.asarray(img)[..., [2, 1, 0, 3]])


def write_image(path, img):
    """Write an image under a temporary name and rename it, so that a killed run leaves no half of a file.

    Args:
        path (str | Path): Where to; the suffix chooses the format. Folders are made.
        img (np.ndarray): H×W, H×W×3 (B, G, R) or, as PNG, H×W×4 uint8.

    Raises:
        ValueError: The suffix is of no known image format, or the array is not uint8.
    """
    path = Path(path)
    if path.suffix.lower() not in IMG_SUFFIXES:
        raise ValueError(f'{path}: unknown image suffix {path.suffix!r}; expected one of {", ".join(IMG_SUFFIXES)}')
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


def list_images(folder):
    """Names of the images directly in ``folder`` by stem, sorted.

    Returns:
        dict[str, Path]: stem → file.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: Two images share a stem, so that a pair would be ambiguous.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder')
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in IMG_SUFFIXES or file.name.startswith('.'):
            continue
        if file.stem in found:
            raise ValueError(f'{folder}: {found[file.stem].name} and {file.name} share the stem {file.stem!r}')
        found[file.stem] = file
    return found


def pair_images(vi_dir, ir_dir):
    """Pair the images of two folders by stem.

    Returns:
        list[tuple[str, Path, Path]]: stem, visible file, infrared file; sorted by stem.

    Raises:
        FileNotFoundError: A folder does not exist, or holds no image.
        ValueError: Images without a counterpart, by name.
    """
    vi, ir = list_images(vi_dir), list_images(ir_dir)
    if not vi and not ir:
        raise FileNotFoundError(f'{vi_dir} and {ir_dir}: no image ({", ".join(IMG_SUFFIXES)}) in either folder')
    only_vi, only_ir = sorted(vi.keys() - ir.keys()), sorted(ir.keys() - vi.keys())
    if only_vi or only_ir:
        parts = []
        for names, here, there in ((only_vi, vi_dir, ir_dir), (only_ir, ir_dir, vi_dir)):
            if names:
                shown = ', '.join(names[:10]) + (f' and {len(names) - 10} more' if len(names) > 10 else '')
                parts.append(f'{len(names)} image(s) of {here} have no counterpart in {there}: {shown}')
        raise ValueError('; '.join(parts) + '. Visible and infrared images are paired by file name without suffix.')
    return [(stem, vi[stem], ir[stem]) for stem in sorted(vi)]


def to_uint8(image):
    """Round images in [0, 1] to 8 bits, as they are written, shown and measured.

    Args:
        image (Tensor): Floating point, any shape; values outside of [0, 1] are cut.

    Returns:
        Tensor: uint8, on the same device.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    image = image.detach().float()
    if not torch.isfinite(image).all():
        raise ValueError('the image holds NaN or infinite values: the network diverged or divides by zero')
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def to_bgr(image):
    """Turn 3×H×W in [0, 1] (R, G, B; tensor) into H×W×3 uint8 (B, G, R; array)."""
    return np.ascontiguousarray(to_uint8(image).permute(1, 2, 0).cpu().numpy()[..., ::-1])
