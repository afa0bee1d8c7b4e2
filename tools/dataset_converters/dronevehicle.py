"""Write a copy of DroneVehicle without the white border of its images, with classes spelt right.

    python tools/dataset_converters/dronevehicle.py data/DroneVehicle --out data/DroneVehicle_cropped

The layout stays. Boxes, those around the polygons of the annotations, are moved with the images, cut at their border, and
written as Pascal VOC. An interrupted run goes on.
"""

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree

from tqdm import tqdm

from mmfusion.cli.errors import report
from mmfusion.datasets import DroneVehicleDataset
from mmfusion.datasets.boxes import BoxSource
from mmfusion.utils import list_images, read_visible, refuse_overwriting, write_bytes, write_image

BORDER = 100


def crop_image(source, target):
    """Write an image without its border; gives its size, (height, width)."""
    image = read_visible(source)
    if min(image.shape[:2]) <= 2 * BORDER:
        raise ValueError(
            f'{source}: {image.shape[1]}×{image.shape[0]} (width×height); expected 840×712, as published, with its border.'
        )
    image = image[BORDER:-BORDER, BORDER:-BORDER]
    write_image(target, image)
    return image.shape[:2]


def annotation_of(boxes, size):
    """An annotation in Pascal VOC's form, of boxes within the border."""
    root = ElementTree.Element('annotation')
    element = ElementTree.SubElement(root, 'size')
    for key, value in zip(('width', 'height', 'depth'), (size[1], size[0], 3), strict=True):
        ElementTree.SubElement(element, key).text = str(value)
    for name, bbox, difficult in boxes:
        name = DroneVehicleDataset.ALIASES.get(name, name)
        sides = [min(max(v - BORDER, 0), size[k % 2 == 0]) for k, v in enumerate(bbox)]
        if name is None or sides[2] <= sides[0] or sides[3] <= sides[1]:
            continue
        item = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(item, 'name').text = name
        ElementTree.SubElement(item, 'difficult').text = str(int(difficult))
        box = ElementTree.SubElement(item, 'bndbox')
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), sides, strict=True):
            ElementTree.SubElement(box, key).text = f'{value:g}'
    ElementTree.indent(root)
    return ElementTree.tostring(root)


def convert(args):
    """Convert the splits that are there; returns a sentence."""
    root, out = Path(args.root), Path(args.out)
    refuse_overwriting(out, root)
    splits = [split for split in DroneVehicleDataset.SPLITS if (root / split).is_dir()]
    if not splits:
        raise FileNotFoundError(
            f'{root}: none of {", ".join(DroneVehicleDataset.SPLITS)}; expected the folders of DroneVehicle.'
        )
    count = 0
    for split in splits:
        for kind in ('', 'r'):
            images, labels = (f'{split}/{split}{part}{kind}' for part in ('img', 'label'))
            boxes = BoxSource(root / labels)
            for name, file in tqdm(list_images(root / images).items(), desc=images):
                target, label = out / images / file.name, out / labels / f'{name}.xml'
                if target.is_file() and label.is_file():
                    continue
                found = boxes.read(name, (), file) if boxes.has(name) else []
                size = crop_image(file, target)
                write_bytes(label, annotation_of(found, size))
                count += 1
    return f'{count} images written, in {out}'


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', help='folder of DroneVehicle, as it is published')
    parser.add_argument('--out', required=True, help='folder to write')
    return report(convert, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
