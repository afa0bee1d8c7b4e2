"""Reading of box annotations: Pascal VOC XML and YOLO text."""

from pathlib import Path
from xml.etree import ElementTree

from PIL import Image


def read_voc(file, classes, image=None):
    """Read the boxes of a Pascal VOC annotation.

    Args:
        file (str | Path): The XML file.
        classes (Sequence[str]): Names that may occur.
        image: Not needed; the coordinates are pixels.

    Returns:
        list[tuple[str, list[float], bool]]: Class name, box (x1, y1, x2, y2 in pixels, as written), and whether the
        object is marked difficult.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is no XML, or an object has an unknown name, no box, or a box without extent; each names
            the file.
    """
    file = Path(file)
    try:
        root = ElementTree.parse(file).getroot()
    except FileNotFoundError as e:
        raise FileNotFoundError(f'{file}: no such annotation. Check data_prefix["ann_path"], or fetch it again.') from e
    except ElementTree.ParseError as e:
        raise ValueError(
            f'{file}: not readable as XML ({e}). The file is damaged or incomplete: fetch it again.'
        ) from e
    boxes = []
    for k, item in enumerate(root.iter('object'), 1):
        name = (item.findtext('name') or '').strip()
        _check_name(name, classes, file, k)
        try:
            bbox = [float(item.findtext(f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
        except (TypeError, ValueError) as e:
            raise ValueError(f'{file}: object {k} ({name}) has no complete bndbox (xmin, ymin, xmax, ymax)') from e
        _check_box(bbox, file, k, name)
        boxes.append((name, bbox, (item.findtext('difficult') or '0').strip() not in ('0', '')))
    return boxes


def read_yolo(file, classes, image):
    """Read the boxes of a YOLO annotation: lines of class index, centre x, centre y, width, height (all in [0, 1]).

    Args:
        file (str | Path): The text file.
        classes (Sequence[str]): Names by index.
        image (str | Path): The image, for its size (only its header is read).

    Returns:
        list[tuple[str, list[float], bool]]: As :func:`read_voc`; never difficult.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: A line that is not of this form, or an index without a class; with file and line.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f'{file}: no such annotation. Check data_prefix["ann_path"], or fetch it again.')
    with Image.open(image) as img:
        width, height = img.size
    boxes = []
    for k, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            index, *numbers = line.split()
            index, (x, y, w, h) = int(index), map(float, numbers)
        except ValueError as e:
            raise ValueError(f'{file}, line {k}: expected "class x y width height", found {line.strip()!r}') from e
        if not 0 <= index < len(classes):
            raise ValueError(f'{file}, line {k}: class {index}, but the dataset has classes 0 to {len(classes) - 1}')
        bbox = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        _check_box(bbox, file, k, classes[index])
        boxes.append((classes[index], bbox, False))
    return boxes


def _check_name(name, classes, file, k):
    if name not in classes:
        raise ValueError(
            f'{file}: object {k} is of class {name!r}, which is not among the classes of the dataset '
            f'({", ".join(classes)}). Correct the file, or use a dataset class whose METAINFO lists it.'
        )


def _check_box(bbox, file, k, name):
    if bbox[2] <= bbox[0] or bbox[3] <= bbox[1]:
        raise ValueError(f'{file}: object {k} ({name}) has a box without extent: {bbox} (x1, y1, x2, y2)')
