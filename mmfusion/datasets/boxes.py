"""Reading of box annotations: Pascal VOC XML, YOLO text, COCO JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mmfusion.utils import NamePattern, read_size, read_text
from mmfusion.utils.log import log_warning
from mmfusion.utils.pairing import stem_below
from mmfusion.utils.text import composed

# Class, x1, y1, x2, y2 in pixels or as fractions, and whether it is difficult or a crowd.
_Box = tuple[str, list[float], bool]
# File, size of the image (width and height), ``'fractions'`` or None, and classes with their boxes.
_Entry = tuple[Path, tuple[int, int] | str | None, list[tuple[str, list[float]]]]


def read_voc(
    file: str | Path, classes: Sequence[str], image: str | Path | None = None
) -> list[tuple[str, list[float], bool]]:
    """Read the boxes of a Pascal VOC annotation.

    Args:
        file: The XML file.
        classes: Names that may occur.
        image: Not needed; the coordinates are pixels.

    Returns:
        Class name, box (x1, y1, x2, y2 in pixels, as written), and whether the object is marked difficult.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is no XML, or an object has an unknown name, no box, or a box without extent.
    """
    _, boxes = _parse_voc(file)
    for k, (name, bbox, _) in enumerate(boxes, 1):
        if name not in classes:
            raise ValueError(
                f'{file}: object {k} is of class {name!r}, which is not among the classes of the dataset '
                f'({", ".join(classes)}). Correct the file, or use a dataset class whose METAINFO lists it.'
            )
        _check_extent(bbox, file, k, name)
    return boxes


def read_yolo(file: str | Path, classes: Sequence[str], image: str | Path) -> list[tuple[str, list[float], bool]]:
    """Read YOLO boxes: class, centre x, y, width, height in [0, 1].

    A sixth field, a detector's score, is left out; lines of a class and three or more corners (polygons of segmentation,
    four corners of oriented boxes) give the box around them. An index may be written as a float (``0.0``). The image is
    needed for its size (turned as EXIF says); the result is :func:`read_voc`'s, never difficult.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If a line is not of this form, or an index has no class; with file and line.
    """
    with_classes = _parse_yolo(file)
    height, width = read_size(image)
    boxes = []
    for k, index, (x1, y1, x2, y2) in with_classes:
        if not index.isdecimal() or not int(index) < len(classes):
            raise ValueError(f'{file}, line {k}: class {index}, but the dataset has classes 0 to {len(classes) - 1}')
        name, bbox = classes[int(index)], [x1 * width, y1 * height, x2 * width, y2 * height]
        _check_extent(bbox, file, k, name)
        boxes.append((name, bbox, False))
    return boxes


class BoxSource:
    """Boxes of a dataset: Pascal VOC or YOLO files, or COCO.

    Args:
        source: Folder, or COCO file (``.json``).
        suffix: ``.xml`` or ``.txt``, where a folder holds both.
        pattern: How names of annotations pair with those of images; see :class:`~mmfusion.utils.NamePattern`.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If a COCO file cannot be read.
    """

    def __init__(self, source: str | Path, suffix: str = '.xml', pattern: str | None = None) -> None:
        self.source = Path(source)
        name_of = NamePattern(pattern) if pattern else str
        if self.source.is_file():
            self.suffix = '.json'
            self._found = {name_of(name): entry for name, entry in _by_last(_parse_coco(self.source)).items()}
        elif self.source.is_dir():
            files = sorted(f for f in self.source.rglob('[!.]*') if f.suffix.lower() in ('.xml', '.txt'))
            # Lists of names often lie beside the XML files.
            kinds = {f.suffix.lower() for f in files}
            self.suffix = suffix if suffix in kinds or not kinds else next(iter(kinds))
            files = [f for f in files if f.suffix.lower() == self.suffix]
            self._found = {name_of(stem_below(self.source, file)): file for file in files}
        else:
            raise FileNotFoundError(f'{source}: no such folder or COCO file of boxes. Check data_prefix["ann_path"].')
        self._found.pop(None, None)

    def file(self, name: str) -> Path:
        """Give the file that annotates an image."""
        return self.source if self.suffix == '.json' else self._found[name]

    def has(self, name: str) -> bool:
        """Tell whether an image has an annotation."""
        return name in self._found

    def read(self, name: str, classes: Sequence[str], image: str | Path) -> list[tuple[str, list[float], bool]]:
        """Read the boxes of an image.

        Classes, by index, are for YOLO, and so is the image, for its size; others are given as written.

        Returns:
            Class name, box (x1, y1, x2, y2 in pixels), and whether the object is difficult (COCO: a crowd) of each.

        Raises:
            ValueError: If the annotation cannot be read, or a box has no extent.
        """
        if self.suffix == '.json':
            return self._found[name][2]
        file = self._found[name]
        if self.suffix == '.txt':
            return read_yolo(file, classes, image)
        boxes = _parse_voc(file)[1]
        for k, (label, bbox, _) in enumerate(boxes, 1):
            _check_extent(bbox, file, k, label)
        return boxes


class AnnotatedBoxes:
    """Boxes from Pascal VOC XML, YOLO text or COCO JSON, by stems.

    - VOC: ``NAME.xml``; ``object`` with ``name`` and ``bndbox`` (pixels). Its ``size`` must be the image's.
    - YOLO: ``NAME.txt``; lines ``class x y w h``, the centre and size as fractions of the image; see :func:`read_yolo`.
    - COCO: ``images`` with ``file_name``, ``annotations`` with ``bbox`` (x, y, w, h in pixels), ``categories``.

    Args:
        source: Folder, or COCO file, of both modalities.
        source_ir: Another one for the infrared images.
        classes: Take only these (names; class numbers of YOLO).
        missing: What an image without an annotation file (or entry) is: an ``'error'``, or ``'empty'``.

    Raises:
        ValueError: If annotations are missing or cannot be read; on use, if a box does not fit its image.
    """

    def __init__(
        self,
        source: str | Path,
        source_ir: str | Path | None = None,
        classes: Iterable[str] | None = None,
        missing: str = 'error',
    ) -> None:
        self.sources = {'vi': Path(source), 'ir': Path(source_ir or source)}
        self.classes = sorted([classes] if isinstance(classes, str) else classes) if classes else None
        self.missing = missing
        self.found = {}

    @property
    def settings(self) -> dict:
        """Give what the boxes depend on, for ``masks.json``."""
        names = {f'boxes_{m}': s.name for m, s in self.sources.items()}
        return dict(backend='boxes', classes=self.classes, missing=self.missing, **names)

    def load(self, stems: Iterable[str]) -> None:
        """Read the annotations of all ``stems``, before hours of work."""
        read = {}
        for modality, source in self.sources.items():
            if source not in read:
                read[source] = _read_annotations(source, list(stems))
                self._check(source, read[source], stems)
            self.found[modality] = read[source]

    def _check(self, source: Path, found: dict[str, _Entry], stems: Iterable[str]) -> None:
        absent = [s for s in stems if s not in found]
        if absent and self.missing == 'error':
            raise ValueError(
                f'{source}: no annotation of {len(absent)} image(s): {", ".join(absent[:10])}. If these show no '
                'object, say --missing-boxes empty.'
            )
        if self.classes:
            names = {name for _, _, entries in found.values() for name, _ in entries}
            unknown = [c for c in self.classes if c not in names]
            if unknown:
                raise ValueError(
                    f'{source}: no box of class {", ".join(unknown)}. Its classes are: {", ".join(sorted(names))}'
                )

    def __call__(self, stem: str, img: np.ndarray, modality: str) -> np.ndarray:
        """Give an image's boxes in pixels, clipped to it.

        Of H×W×3 they are N×4 float32, x1, y1, x2, y2.
        """
        if stem not in self.found[modality]:
            return np.zeros((0, 4), np.float32)
        height, width = img.shape[:2]
        file, size, entries = self.found[modality][stem]
        if size not in (None, 'fractions', (width, height)):
            raise ValueError(
                f'{file}: made for an image of {size[0]}×{size[1]}, but the {modality} image {stem} is {width}×{height}'
            )
        boxes = np.array([b for name, b in entries if not self.classes or name in self.classes], np.float32)
        boxes = boxes.reshape(-1, 4)
        if size == 'fractions':
            boxes = boxes * np.float32([width, height, width, height])
        boxes = boxes[boxes_inside(boxes.tolist(), (height, width), f'{file}, {modality} image {stem}')]
        clipped = boxes.clip(0, np.float32([width, height, width, height]))
        flat = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
        if flat.any():
            raise ValueError(
                f'{file}: box {boxes[flat][0].tolist()} (x1, y1, x2, y2) has no area in the image of {width}×{height}'
            )
        return clipped


def boxes_inside(boxes: Sequence[Sequence[float]], size: tuple[int, int], name: str) -> list[bool]:
    """Tell which boxes an image holds.

    Others are to be left out, as mmdet does, which the log says.

    Args:
        boxes: x1, y1, x2, y2 in pixels of each.
        size: Height and width of the image.
        name: Of the annotation or image, for messages.

    Raises:
        ValueError: If no box lies in the image: they are those of another one.
    """
    height, width = size
    inside = [x1 < width and y1 < height and x2 > 0 and y2 > 0 for x1, y1, x2, y2 in boxes]
    if all(inside):
        return inside
    box = [float(value) for value in boxes[inside.index(False)]]
    text = f'{name}: box {box} (x1, y1, x2, y2) lies outside of its image of {width}×{height} (width×height)'
    if not any(inside):
        raise ValueError(f'{text}, as all of its boxes do. Is it the annotation of another image or size?')
    log_warning(f'{text}; {inside.count(False)} of {len(boxes)} are left out.')
    return inside


def _read_annotations(source: Path, stems: Sequence[str]) -> dict[str, _Entry]:
    """Find stems' files, image sizes (or ``'fractions'``), classes and boxes."""
    if source.is_file():
        found = _by_last(_parse_coco(source))
        return {name: (file, size, [box[:2] for box in boxes]) for name, (file, size, boxes) in found.items()}
    if not source.is_dir():
        raise ValueError(f'{source}: no such folder or COCO file of boxes. Check --boxes.')
    kinds = {suffix: [s for s in stems if (source / f'{s}{suffix}').is_file()] for suffix in ('.xml', '.txt')}
    if kinds['.xml'] and kinds['.txt']:
        raise ValueError(f'{source}: holds both VOC (.xml) and YOLO (.txt) files of the images. Keep one kind.')
    if not kinds['.xml'] and not kinds['.txt'] and stems:
        raise ValueError(f'{source}: neither {stems[0]}.xml (VOC) nor {stems[0]}.txt (YOLO), nor any other')
    found = {}
    for stem in kinds['.xml']:
        size, boxes = _parse_voc(source / f'{stem}.xml')
        found[stem] = source / f'{stem}.xml', size, [(name, bbox) for name, bbox, _ in boxes]
    for stem in kinds['.txt']:
        boxes = _parse_yolo(source / f'{stem}.txt')
        found[stem] = source / f'{stem}.txt', 'fractions', [(name, bbox) for _, name, bbox in boxes]
    return found


def _parse_voc(file: str | Path) -> tuple[tuple[int, int] | None, list[_Box]]:
    """Width and height, or None, and the objects, difficult or not."""
    try:
        root = ElementTree.parse(file).getroot()
    except FileNotFoundError as e:
        raise FileNotFoundError(f'{file}: no such annotation. Check data_prefix["ann_path"], or fetch it again.') from e
    except ElementTree.ParseError as e:
        raise ValueError(
            f'{file}: not readable as XML ({e}). The file is damaged or incomplete: fetch it again.'
        ) from e
    if 'annotation' not in root.tag.lower() and root.find('.//object') is None:
        raise ValueError(f'{file}: no Pascal VOC annotation, but a <{root.tag}> without objects.')
    try:
        size = tuple(int(float(root.findtext(f'size/{k}') or 0)) for k in ('width', 'height'))
    except ValueError as e:
        raise ValueError(f'{file}: its size is not a width and a height in pixels ({e}). Correct the file.') from e
    boxes = []
    for k, item in enumerate(root.iter('object'), 1):
        name = (item.findtext('name') or '').strip()
        try:
            bbox = _voc_box(item)
        except (TypeError, ValueError) as e:
            raise ValueError(f'{file}: object {k} ({name}) has no complete bndbox (xmin, ymin, xmax, ymax)') from e
        boxes.append((name, bbox, (item.findtext('difficult') or '0').strip() not in ('0', '')))
    return size if all(size) else None, boxes


def _voc_box(item: ElementTree.Element) -> list[float]:
    """Sides of an object's box; around the polygon of an oriented one."""
    if item.find('bndbox') is None and item.find('polygon') is not None:
        xs, ys = ([float(item.findtext(f'polygon/{axis}{k}')) for k in range(1, 5)] for axis in 'xy')
        return [min(xs), min(ys), max(xs), max(ys)]
    if item.find('bndbox/w') is not None:
        x, y, w, h = (float(item.findtext(f'bndbox/{key}')) for key in 'xywh')
        return [x, y, x + w, y + h]
    return [float(item.findtext(f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]


def _parse_yolo(file: str | Path) -> list[tuple[int, str, list[float]]]:
    """Line, class and box, in fractions of the image, of each object."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f'{file}: no such annotation. Check data_prefix["ann_path"], or fetch it again.')
    boxes = []
    for k, line in enumerate(read_text(file).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            values = list(map(float, fields[1:]))
            polygon = len(values) >= 6 and len(values) % 2 == 0
            if not polygon and len(values) not in (4, 5):  # a fifth value is a detector's score
                raise ValueError(f'{len(values)} values after the class')
            values = values if polygon else values[:4]
            # Tools round, or cut at a pixel beyond the border.
            if not all(-0.01 <= v <= 1.01 for v in values):
                raise ValueError('values outside of 0…1')
            values = [min(max(v, 0.0), 1.0) for v in values]
        except ValueError as e:
            raise ValueError(
                f'{file}, line {k}: expected "class x y width height", the centre and the size as fractions of the '
                f'image, found {line.strip()!r} ({e}). Polygons are "class x1 y1 x2 y2 x3 y3 …".'
            ) from e
        label = fields[0][:-2] if fields[0].endswith('.0') else fields[0]
        if polygon:
            xs, ys = values[::2], values[1::2]
            boxes.append((k, label, [min(xs), min(ys), max(xs), max(ys)]))
        else:
            x, y, w, h = values
            boxes.append((k, label, [x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
    return boxes


def _parse_coco(file: str | Path) -> dict[str, tuple[str | Path, tuple[int, int] | None, list[_Box]]]:
    """Images by path without suffix: file, size or None, and objects."""
    try:
        data = json.loads(read_text(file))
        names = {c['id']: c['name'] for c in data['categories']}
        found, by_id = {}, {}
        for image in data['images']:
            stem = composed(Path(image['file_name']).with_suffix('').as_posix())
            if stem in found:
                raise ValueError(f'two images are named {stem}')
            size = (image['width'], image['height']) if 'width' in image else None
            found[stem] = by_id[image['id']] = (file, size, [])
        for item in data['annotations']:
            x, y, w, h = item['bbox']
            if w > 0 and h > 0:  # others are left out by mmdet, too
                box = names[item['category_id']], [x, y, x + w, y + h], bool(item.get('iscrowd', 0))
                _check_extent(box[1], file, item.get('id'), box[0])
                by_id[item['image_id']][2].append(box)
    except (KeyError, ValueError, TypeError) as e:
        raise ValueError(f'{file}: cannot be read as COCO detections ({type(e).__name__}: {e})') from e
    return found


def _by_last(found: dict[str, tuple]) -> dict[str, tuple]:
    """Entries by name and, where unique, by its last part alone."""
    last = {}
    for name in found:
        last.setdefault(Path(name).name, []).append(name)
    return {short: found[names[0]] for short, names in last.items() if len(names) == 1} | found


def _check_extent(bbox: Sequence[float], file: str | Path, k: int, name: str) -> None:
    if not (all(map(math.isfinite, bbox)) and bbox[0] < bbox[2] and bbox[1] < bbox[3]):
        raise ValueError(f'{file}: object {k} ({name}) has a box without extent: {bbox} (x1, y1, x2, y2)')
