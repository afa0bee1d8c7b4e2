"""Rendering of synthetic infrared-visible scenes with exact labels, boxes and masks.

The scenes are made so that neither camera shows everything: at night, behind smoke and in dark clothes persons vanish
from the visible image but not from the infrared one; cars parked for long have the temperature of the street and vanish
from the infrared image; lamps dazzle only the visible camera.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from mmfusion.utils import write_bytes

from .scene import compose_scene, sense_infrared, sense_visible, smoke_map
from .scene.canvas import Canvas

PALETTE = [[0, 0, 0], [128, 64, 128], [60, 140, 40], [40, 60, 200], [220, 20, 60], [250, 200, 30]]
BOX_CLASSES = ('person', 'car')

# An object counts as seen by a camera when its pixels differ on average by this many grey levels of 255 from what the
# camera would show without it.
VISIBLE_CONTRAST = 14.0
INFRARED_CONTRAST = 14.0
# Behind smoke of more than this opacity the visible camera sees nothing.
DENSE_SMOKE = 0.72
# A box needs this many visible pixels in a 480-row image; it scales with the area.
MIN_PIXELS = 60


@dataclass
class SyntheticScene:
    """One rendered scene.

    Attributes:
        vi (np.ndarray): Visible image, H×W×3 uint8, B, G, R.
        ir (np.ndarray): Infrared image, H×W uint8.
        seg_map (np.ndarray): Class of each pixel (index into :data:`CLASSES`), H×W uint8.
        mask_vi, mask_ir (np.ndarray): 1 where a person or car is, and that camera shows it by contrast; H×W uint8.
        bboxes (np.ndarray): N×4 float32 (x1, y1, x2, y2) around the unoccluded part of each person and car.
        labels (np.ndarray): N int64, index into :data:`BOX_CLASSES`.
        night (bool): Whether it is night.
        name (str): Index of five digits and ``N`` or ``D``, as MSRS names its images.
    """

    vi: np.ndarray
    ir: np.ndarray
    seg_map: np.ndarray
    mask_vi: np.ndarray
    mask_ir: np.ndarray
    bboxes: np.ndarray
    labels: np.ndarray
    night: bool
    name: str
    seen: np.ndarray = field(default=None, repr=False)  # N×2 bool: seen in vi, in ir


def scene_name(seed: int, index: int) -> str:
    """Name of a scene without rendering it, e.g. ``'00012D'``."""
    return f'{index:05d}{"N" if (seed + index) % 2 else "D"}'


def render_scene(seed: int, index: int, size: tuple[int, int] = (480, 640)) -> SyntheticScene:
    """Render one street scene.

    The same arguments give the same arrays. Every second scene is at night.

    Args:
        seed: Which set of scenes; not negative.
        index: Which scene of the set; not negative.
        size: Height and width in pixels, at least 32 each.

    Returns:
        Images, labels, boxes and masks.

    Raises:
        ValueError: If the seed or index is negative, or a side is under 32 pixels.
    """
    if seed < 0 or index < 0:
        raise ValueError(f'seed and index of a synthetic scene must not be negative, got seed={seed}, index={index}')
    if min(size) < 32:
        raise ValueError(f'a synthetic scene needs at least 32×32 pixels, got size={tuple(size)} (height, width)')
    size = tuple(int(s) for s in size)
    canvas, camera, scene = compose_scene(seed, index, size)
    rng = np.random.default_rng([seed, index, 2])
    smoke = smoke_map(canvas, camera, scene, rng)
    vi, contrast_vi = sense_visible(canvas, camera, scene, smoke, rng)
    ir, contrast_ir = sense_infrared(canvas, scene, smoke, rng)
    mask_vi, mask_ir, bboxes, labels, seen = _annotate(canvas, scene, smoke, contrast_vi, contrast_ir)
    return SyntheticScene(
        vi, ir, canvas.label, mask_vi, mask_ir, bboxes, labels, scene.weather.night, scene_name(seed, index), seen
    )


def cached_scene(folder: str | Path, seed: int, index: int, size: tuple[int, int] = (480, 640)) -> SyntheticScene:
    """What :func:`render_scene` gives, rendered once and then read from a file.

    Rendering takes longer than one training step of a small network. Several workers and processes may share the folder;
    scenes of another version of the generator are not taken for those of this one.

    Args:
        folder: Where the scenes are kept; it may be deleted at any time when nothing runs.
        seed, index, size: Those of :func:`render_scene`.

    Returns:
        The same arrays.

    Raises:
        ValueError: If a file of the folder cannot be read.
    """
    path = Path(folder) / generator_version() / f'{seed}_{index:05d}_{size[0]}x{size[1]}.npz'
    if not path.is_file():
        scene = render_scene(seed, index, size)
        buffer = io.BytesIO()
        np.savez(buffer, **{f.name: getattr(scene, f.name) for f in fields(scene)})
        write_bytes(path, buffer.getvalue())
        return scene
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: array if array.ndim else array.item() for name, array in arrays.items()}
        return SyntheticScene(**values)
    except (ValueError, TypeError, OSError, zipfile.BadZipFile) as e:
        raise ValueError(
            f'{path}: no rendered scene can be read from it ({e}). Delete the file: it is made anew.'
        ) from e


@cache
def generator_version() -> str:
    """Hash of the generator's source: scenes of two versions may differ."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted((Path(__file__).parent / 'scene').glob('*.py')):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _annotate(
    canvas: Canvas, scene: SimpleNamespace, smoke: np.ndarray, contrast_vi: np.ndarray, contrast_ir: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Boxes of objects, and masks of those that each camera shows."""
    h, w = canvas.size
    mask_vi, mask_ir = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    bboxes, labels, seen = [], [], []
    for item in scene.objects:
        mask = cv2.compare(canvas.instance, item.number, cv2.CMP_EQ)
        x, y, bw, bh = cv2.boundingRect(mask)
        if not bw:
            continue
        box = np.s_[y : y + bh, x : x + bw]
        mask = mask[box] > 0
        clear = mask & (smoke[box] < DENSE_SMOKE)
        in_vi = bool(clear.any() and contrast_vi[box][clear].mean() >= VISIBLE_CONTRAST)
        in_ir = bool(contrast_ir[box][mask].mean() >= INFRARED_CONTRAST)
        mask_vi[box][clear] = in_vi
        mask_ir[box][mask] = in_ir
        if mask.sum() >= MIN_PIXELS * h * w / (480 * 640):
            bboxes.append((x, y, x + bw, y + bh))
            labels.append(BOX_CLASSES.index(item.what))
            seen.append((in_vi, in_ir))
    return (
        mask_vi,
        mask_ir,
        np.array(bboxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(seen, bool).reshape(-1, 2),
    )
