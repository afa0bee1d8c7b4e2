"""Boxes of salient objects from annotation files."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from .grounded_sam import MaskGenerationError


class AnnotatedBoxes:
    """Boxes from annotation files: Pascal VOC XML, YOLO text, or one COCO JSON; found by the images' stems.

    - VOC: ``NAME.xml``; ``object`` with ``name`` and ``bndbox`` (pixels). Its ``size`` must be the image's.
    - YOLO: ``NAME.txt``; lines ``class x y w h``, the centre and size as fractions of the image.
    - COCO: ``images`` with ``file_name``, ``annotations`` with ``bbox`` (x, y, w, h in pixels), ``categories``.

    Args:
        source (str | Path): Folder, or COCO file, of both modalities.
        source_ir (str | Path, optional): Another one for the infrared images.
        classes (list[str], optional): Take only these (names; class numbers of YOLO).
        missing (str): What an image without an annotation file (or entry) is: an ``'error'``, or ``'empty'``.

    Raises:
        MaskGenerationError: See the messages; from :meth:`load`, and on use where a box does not fit its image.
    """

    def __init__(self, source, source_ir=None, classes=None, missing='error'):
        self.sources = {'vi': Path(source), 'ir': Path(source_ir or source)}
        self.classes = sorted(classes) if classes else None
        self.missing = missing
        self.found = {}

    @property
    def settings(self):
        """dict: What the boxes depend on, for ``masks.json``."""
        names = {f'boxes_{m}': s.name for m, s in self.sources.items()}
        return dict(backend='boxes', classes=self.classes, missing=self.missing, **names)

    def load(self, stems):
        """Read the annotations of all ``stems``, so that a bad file shows before hours of work, not after."""
        read = {}
        for modality, source in self.sources.items():
            if source not in read:
                read[source] = _read_annotations(source, list(stems))
                self._check(source, read[source], stems)
            self.found[modality] = read[source]

    def _check(self, source, found, stems):
        absent = [s for s in stems if s not in found]
        if absent and self.missing == 'error':
            raise MaskGenerationError(
                f'{source}: no annotation of {len(absent)} image(s): {", ".join(absent[:10])}. If these show no '
                'object, say --missing-boxes empty.'
            )
        if self.classes:
            names = {name for _, _, entries in found.values() for name, _ in entries}
            unknown = [c for c in self.classes if c not in names]
            if unknown:
                raise MaskGenerationError(
                    f'{source}: no box of class {", ".join(unknown)}. Its classes are: {", ".join(sorted(names))}'
                )

    def __call__(self, stem, img, modality):
        """The boxes of an image (H×W×3): N×4 float32, x1, y1, x2, y2 in pixels, clipped to it."""
        if stem not in self.found[modality]:
            return np.zeros((0, 4), np.float32)
        height, width = img.shape[:2]
        file, size, entries = self.found[modality][stem]
        if size not in (None, 'fractions', (width, height)):
            raise MaskGenerationError(
                f'{file}: made for an image of {size[0]}×{size[1]}, but the {modality} image {stem} is {width}×{height}'
            )
        boxes = np.array([b for name, b in entries if not self.classes or name in self.classes], np.float32)
        boxes = boxes.reshape(-1, 4)
        if size == 'fractions':
            boxes = boxes * np.float32([width, height, width, height])
        clipped = boxes.clip(0, np.float32([width, height, width, height]))
        flat = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
        if flat.any():
            raise MaskGenerationError(
                f'{file}: box {boxes[flat][0].tolist()} (x1, y1, x2, y2) has no area in the image of {width}×{height}'
            )
        return clipped


def _read_annotations(source, stems):
    """stem → (file, image size or ``'fractions'`` or None, [(class, [x1, y1, x2, y2]), …])."""
    if source.is_file():
        return _read_coco(source)
    if not source.is_dir():
        raise MaskGenerationError(f'{source}: no such folder or COCO file of boxes. Check --boxes.')
    kinds = {suffix: [s for s in stems if (source / f'{s}{suffix}').is_file()] for suffix in ('.xml', '.txt')}
    if kinds['.xml'] and kinds['.txt']:
        raise MaskGenerationError(
            f'{source}: holds both VOC (.xml) and YOLO (.txt) files of the images. Keep one kind.'
        )
    if not kinds['.xml'] and not kinds['.txt'] and stems:
        raise MaskGenerationError(f'{source}: neither {stems[0]}.xml (VOC) nor {stems[0]}.txt (YOLO), nor any other')
    suffix, reader = ('.xml', _read_voc) if kinds['.xml'] else ('.txt', _read_yolo)
    return {stem: reader(source / f'{stem}{suffix}') for stem in kinds[suffix]}


def _read_voc(file):
    try:
        root = ElementTree.parse(file).getroot()
        size = root.find('size')
        if size is not None:
            size = tuple(int(size.findtext(k)) for k in ('width', 'height'))
        entries = []
        for item in root.iter('object'):
            box = item.find('bndbox')
            corners = [float(box.findtext(k)) for k in ('xmin', 'ymin', 'xmax', 'ymax')]
            entries.append((item.findtext('name').strip(), corners))
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError) as e:
        raise MaskGenerationError(f'{file}: cannot be read as a Pascal VOC annotation ({e})') from e
    return file, size if size and all(size) else None, entries


def _read_yolo(file):
    entries = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            # A sixth field is a detector's score.
            x, y, w, h = (float(v) for v in fields[1:5]) if len(fields) in (5, 6) else ()
            if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < w <= 1 and 0 < h <= 1):
                raise ValueError('values outside of 0…1')
        except ValueError as e:
            raise MaskGenerationError(
                f'{file}, line {number}: {line!r} is not "class x y w h" with the centre and size as fractions ({e})'
            ) from e
        entries.append((fields[0], [x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
    return file, 'fractions', entries


def _read_coco(file):
    try:
        data = json.loads(file.read_text())
        names = {c['id']: c['name'] for c in data['categories']}
        found, by_id = {}, {}
        for image in data['images']:
            stem = Path(image['file_name']).stem
            if stem in found:
                raise ValueError(f'two images are named {stem}')
            size = (image['width'], image['height']) if 'width' in image else None
            found[stem] = by_id[image['id']] = (file, size, [])
        for item in data['annotations']:
            x, y, w, h = item['bbox']
            by_id[item['image_id']][2].append((names[item['category_id']], [x, y, x + w, y + h]))
    except (KeyError, ValueError, TypeError) as e:
        raise MaskGenerationError(f'{file}: cannot be read as COCO detections ({type(e).__name__}: {e})') from e
    return found
