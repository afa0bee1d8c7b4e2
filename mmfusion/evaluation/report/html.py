"""The report: one HTML file that needs no other."""

import base64
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from mmfusion.utils import write_bytes
from mmfusion.utils.text import json_text

from ..specs import METRIC_SPECS
from .folders import Results, as_dict, read_part
from .tables import notes, summarize


def choose_pictures(results: Results, limit: int | None) -> list[str]:
    """Choose at most ``limit`` images, best and worst ones first."""
    if limit is None or limit >= len(results.images):
        return list(results.images)
    chosen = {}
    for name in results.metrics:
        for method in results.methods:
            found = [(results.value(method, name, i), i) for i in results.images]
            found = sorted((v, i) for v, i in found if not math.isnan(v))
            if found:
                chosen.update(dict.fromkeys((found[0][1], found[-1][1])))
    step = len(results.images) / max(1, limit)
    chosen.update(dict.fromkeys(results.images[int(k * step)] for k in range(limit)))
    kept = set(list(chosen)[:limit])
    return [image for image in results.images if image in kept]


def _picture(img: np.ndarray, size: int, quality: int) -> str:
    """An image as a data URI, JPEG, no side longer than ``size``."""
    factor = size / max(img.shape[:2])
    if factor < 1:
        new = max(1, round(img.shape[1] * factor)), max(1, round(img.shape[0] * factor))
        img = cv2.resize(img, new, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', img, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return 'data:image/jpeg;base64,' + base64.b64encode(data).decode()


def write_html(
    results: Results,
    file: str | Path,
    gallery: int | None = 60,
    picture_size: int = 720,
    quality: int = 88,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    cost_note: str = '',
) -> None:
    """Write the report: ranking table, best and worst images, plots, gallery.

    Args:
        results: The values, with their files.
        file: Where to.
        gallery: Pictures of so many images go in (each once per source and method); None for all.
        picture_size: Longest side of a picture, in pixels.
        quality: Of JPEG.
        costs: Method → ``parameters``, ``flops``, ``seconds`` and ``memory`` (bytes) of one pair, for a table and a
            plot of cost against quality.
        cost_note: Of which pair, and on what machine.

    Raises:
        ImageReadError: If a picture cannot be read.
    """
    data = as_dict(results)
    summary = summarize(results)
    data['ranks'] = summary['ranks']
    data['mean_rank'] = {m: None if math.isnan(r) else r for m, r in summary['mean_rank'].items()}
    data['notes'] = notes(results, summary)
    data['costs'], data['cost_note'] = costs or {}, cost_note
    del data['signatures']
    columns = data.pop('files')
    by_image = {image: {n: found[image] for n, found in columns.items() if image in found} for image in results.images}
    data['pictures'] = {
        image: {name: _picture(read_part(name, paths, **results.reading), picture_size, quality) for name in paths}
        for image, paths in ((image, by_image[image]) for image in choose_pictures(results, gallery))
    }
    # In a script element only "</" and "<!--" could end the data early.
    text = json_text(data, allow_nan=False).replace('<', '\\u003c')
    template = files(__package__).joinpath('template.html').read_text(encoding='utf-8')
    write_bytes(Path(file), template.replace('@@DATA@@', text).encode())


def best_and_worst(results: Results, metric: str) -> dict[str, tuple[str, str]]:
    """Find each method's best and worst image under a metric, where defined."""
    sign = -1 if METRIC_SPECS[metric].higher_is_better else 1
    found = {}
    for method in results.methods:
        values = [(sign * results.value(method, metric, i), i) for i in results.images]
        values = sorted(v for v in values if not math.isnan(v[0]))
        if values:
            found[method] = values[0][1], values[-1][1]
    return found
