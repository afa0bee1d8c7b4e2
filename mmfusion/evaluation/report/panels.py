"""Figure panels as papers print them: a grid, with a magnified region."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmfusion.utils import read_visible

BOX_COLOURS = ((40, 40, 230), (40, 200, 40))
"""Of the first and second box, B, G, R."""

Box = tuple[int, int, int, int]


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Read four integers from ``'x,y,width,height'``.

    Raises:
        ValueError: If there are not four whole numbers, or the region is empty.

    Examples:
        >>> parse_box('10,20,64,48')
        (10, 20, 64, 48)
    """
    try:
        x, y, width, height = (int(part) for part in text.split(','))
    except ValueError as e:
        raise ValueError(f"box {text!r}: expected four whole numbers 'x,y,width,height'") from e
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise ValueError(f'box {text!r}: x and y must not be negative, width and height not below 1')
    return x, y, width, height


def magnify(img: np.ndarray, boxes: Sequence[Box], share: float = 0.4) -> np.ndarray:
    """Draw boxes and, magnified at the bottom right and left, their content.

    At most two boxes (x, y, width, height), on a copy of H×W×3 uint8 (B, G, R). ``share`` is the side of the magnified
    region as a share of the image's.

    Raises:
        ValueError: If there are more than two boxes, or one leaves the image.
    """
    if len(boxes) > 2:
        raise ValueError(f'{len(boxes)} boxes: a panel has room for two')
    height, width = img.shape[:2]
    out = img.copy()
    line = max(1, round(min(height, width) / 200))
    for k, (x, y, w, h) in enumerate(boxes):
        if x + w > width or y + h > height:
            raise ValueError(f'box {x},{y},{w},{h} leaves the image of {width}×{height} (width×height)')
        factor = min(share * width / w, share * height / h)
        size = max(1, round(w * factor)), max(1, round(h * factor))
        patch = cv2.resize(img[y : y + h, x : x + w], size, interpolation=cv2.INTER_CUBIC)
        left = width - size[0] if k == 0 else 0
        cv2.rectangle(out, (x, y), (x + w - 1, y + h - 1), BOX_COLOURS[k], line)
        out[height - size[1] :, left : left + size[0]] = patch
        cv2.rectangle(out, (left, height - size[1]), (left + size[0] - 1, height - 1), BOX_COLOURS[k], 2 * line)
    return out


def _titled(img: np.ndarray, title: str, bar: int) -> np.ndarray:
    """Put the image over a white bar with its title."""
    canvas = Image.new('RGB', (img.shape[1], img.shape[0] + bar), 'white')
    canvas.paste(Image.fromarray(np.ascontiguousarray(img[..., ::-1])))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=round(bar * 0.7))
    draw.text((img.shape[1] / 2, img.shape[0] + bar / 2), title, fill='black', font=font, anchor='mm')
    return np.asarray(canvas)[..., ::-1]


def make_panel(
    columns: Mapping[str, Mapping[str, str | Path]],
    rows: Sequence[str],
    boxes: Mapping[str, Sequence[Box]] | None = None,
    width: int = 320,
    gap: int = 4,
    per_line: int | None = None,
    read: Callable[[str, dict], np.ndarray] | None = None,
) -> np.ndarray:
    """Make a panel, a column for each source and method.

    Args:
        columns: Title → image's name → file.
        rows: Names of images; one that a column lacks is left white.
        boxes: Image's name → regions to magnify, in pixels of the file.
        width: Of one image in the panel, in pixels.
        gap: White space between images.
        per_line: Break each row after so many columns.
        read: From a title and the files of one image by title to H×W×3 uint8 (B, G, R); by default
            :func:`mmfusion.utils.read_visible`.

    Raises:
        ValueError: If there is no row, no column has a row, a box leaves its image, or a width or line is empty.
    """
    if width < 1 or (per_line is not None and per_line < 1):
        raise ValueError(f'width and per_line must be at least 1, got {width} and {per_line}')
    if not rows:
        raise ValueError('a panel needs at least one image')
    titles, bar = list(columns), max(16, width // 11)
    per_line = per_line or len(titles)
    lines = []
    for row_index, row in enumerate(rows):
        found = {t: columns[t][row] for t in titles if row in columns[t]}
        images = {t: read(t, found) if read else read_visible(found[t]) for t in found}
        cells = {t: _cell(images.get(t), (boxes or {}).get(row, ()), width) for t in titles}
        heights = [cell.shape[0] for cell in cells.values() if cell is not None]
        if not heights:
            raise ValueError(f'{row}: none of {", ".join(titles)} has this image')
        for start in range(0, len(titles), per_line):
            last = row_index == len(rows) - 1 or per_line < len(titles)
            lines.append(_line(titles[start : start + per_line], cells, max(heights), width, gap, bar if last else 0))
    full = max(line.shape[1] for line in lines)
    padded = [cv2.copyMakeBorder(x, 0, gap, 0, full - x.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for x in lines]
    return np.concatenate(padded)


def _cell(img: np.ndarray | None, boxes: Sequence[Box], width: int) -> np.ndarray | None:
    if img is None:
        return None
    img = magnify(img, boxes)
    height = max(1, round(img.shape[0] * width / img.shape[1]))
    return cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA if img.shape[1] > width else cv2.INTER_CUBIC)


def _line(
    titles: Sequence[str], cells: Mapping[str, np.ndarray | None], height: int, width: int, gap: int, bar: int
) -> np.ndarray:
    parts = []
    for title in titles:
        tile = np.full((height, width, 3), 255, np.uint8)
        if cells[title] is not None:
            tile[: cells[title].shape[0]] = cells[title]
        tile = _titled(tile, title, bar) if bar else tile
        parts.append(cv2.copyMakeBorder(tile, 0, 0, 0, gap, cv2.BORDER_CONSTANT, value=(255,) * 3))
    return np.concatenate(parts, axis=1)
