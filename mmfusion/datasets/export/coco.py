"""Boxes of our datasets as COCO JSON."""

from collections.abc import Callable
from pathlib import Path

from mmfusion.datasets.fusion_dataset import FusionDataset
from mmfusion.datasets.synthetic import BOX_CLASSES, RenderSyntheticPair
from mmfusion.utils import read_size


def to_coco(dataset: FusionDataset, file_name: Callable[[dict], str] | None = None) -> dict:
    """Give the boxes of a dataset in COCO's form.

    Image ids, annotation ids and category ids count from 1: images in the order of the dataset, categories in that of its
    classes. Images without objects are kept. A box that is marked to be ignored (``ignore_flag``; difficult, in Pascal
    VOC) gets ``iscrowd=1``, as mmdet reads and writes it. Coordinates are the dataset's own, unrounded.

    Args:
        dataset: Built with its boxes (``with_boxes=True``).
        file_name: Sample (dict) → name of its image in the result; default the visible image's name, without folder.

    Raises:
        ValueError: If the dataset has no boxes, or its classes are not those of the boxes.
    """
    file_name = file_name or (lambda info: Path(info['img_path']).name)
    categories = [dict(id=k, name=name) for k, name in enumerate(dataset.metainfo['classes'], 1)]
    images, annotations = [], []
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        height, width = image_size(info)
        images.append(dict(id=number + 1, file_name=file_name(info), width=width, height=height))
        for item in instances_of(dataset, info):
            x1, y1, x2, y2 = item['bbox']
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number + 1,
                    category_id=item['bbox_label'] + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=int(item['ignore_flag']),
                )
            )
    info = dict(description=f'boxes of {type(dataset).__name__}, written by mmfusion')
    return dict(info=info, licenses=[], images=images, categories=categories, annotations=annotations)


def instances_of(dataset: FusionDataset, info: dict) -> list[dict]:
    """List the boxes of one sample: ``bbox``, ``bbox_label``, ``ignore_flag``.

    Raises:
        ValueError: See :func:`to_coco`.
    """
    name = type(dataset).__name__
    if 'instances' in info:
        return info['instances']
    if 'synthetic' not in info:
        raise ValueError(f'{name}: its samples have no boxes ({info["img_path"]}). Set with_boxes=True.')
    if tuple(dataset.metainfo['classes']) != BOX_CLASSES:
        raise ValueError(
            f'{name}: its boxes are of {", ".join(BOX_CLASSES)}, its classes are {", ".join(dataset.metainfo["classes"])}. '
            "Set task='det'."
        )
    render = RenderSyntheticPair(with_masks=False, with_seg=False, box_type='array')
    return render(dict(info))['instances']


def image_size(info: dict) -> tuple[int, int]:
    """Read height and width of a sample's image, turned as EXIF says."""
    if 'synthetic' in info:
        return tuple(info['synthetic']['size'])
    return read_size(info['img_path'])
