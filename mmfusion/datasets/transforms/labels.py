"""Loading of segmentation labels, checked as mmseg's loader does not."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS
from mmfusion.utils import read_label_map
from mmfusion.utils.log import log_warning

_NOTICED = set()


@TRANSFORMS.register_module()
class LoadSegLabels(BaseTransform):
    """Load a label map, and refuse one that does not fit.

    A label beyond the classes makes a loss fail on a GPU with an assertion that names no file, and is counted wrongly
    by a metric; a map of another size is cropped apart from its image.

    Required keys: ``seg_map_path``, ``num_classes``, ``label_map``, ``reduce_zero_label``. Added keys: ``gt_seg_map``
    (H×W uint8), listed in ``seg_fields``.

    Args:
        ignore_index: A label that may stand in a map without being a class.

    Raises:
        KeyError: If the dataset gives no labels.
        ValueError: If a label is outside the classes, or the map has another size than the image; the file is named.
        ImageReadError: If the file is missing or damaged.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Read, check and map one label map."""
        path = results.get('seg_map_path')
        if path is None:
            raise KeyError(
                f'{results.get("img_path")}: no seg_map_path. Set with_labels=True of the dataset, or give '
                "data_prefix['seg_map_path']."
            )
        seg_map = read_label_map(path)
        # The file's own size: a test pipeline may resize the image first, and score at full size.
        size = results.get('ori_shape') or (results['img'].shape if 'img' in results else seg_map.shape)
        if seg_map.shape != tuple(size[:2]):
            raise ValueError(
                f'{path} is {seg_map.shape[1]}×{seg_map.shape[0]} but its image {results["img_path"]} is '
                f'{size[1]}×{size[0]} (width×height).'
            )
        self._check(seg_map, path, results)
        results['gt_seg_map'] = map_labels(seg_map, results.get('label_map'), results.get('reduce_zero_label', False))
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def _check(self, seg_map: np.ndarray, path: str | Path, results: dict) -> None:
        # With reduce_zero_label the file counts one more: 0, the unlabelled.
        highest = results['num_classes'] - (0 if results.get('reduce_zero_label') else 1)
        labels = np.unique(seg_map)
        bad = labels[(labels > highest) & (labels != self.ignore_index)]
        if bad.size:
            if not results['num_classes']:
                raise ValueError(
                    f'{path}: has labels, and the dataset no classes: name them in its metainfo=dict(classes=(…)).'
                )
            raise ValueError(
                f'{path}: label {", ".join(map(str, bad[:10]))} is outside the classes; the dataset has labels 0 to '
                f'{highest}, and {self.ignore_index} for what is ignored. Is this a coloured map, or one of another '
                'dataset?'
            )
        folder = Path(path).parent
        if highest >= 1 and labels.tolist() == [0, self.ignore_index] and folder not in _NOTICED:
            _NOTICED.add(folder)
            log_warning(
                f'{path}: has the labels 0 and {self.ignore_index} alone, and {self.ignore_index} is what is ignored. If it '
                'is a mask of one class, save that class as 1: nothing would be learnt of it.'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ignore_index={self.ignore_index})'


def map_labels(
    seg_map: np.ndarray, label_map: dict[int, int] | None = None, reduce_zero_label: bool = False
) -> np.ndarray:
    """Apply mmseg's ``reduce_zero_label`` (0 and 255 → 255), then ``label_map``, to uint8."""
    table = np.arange(256)
    if reduce_zero_label:
        table = np.where((table == 0) | (table == 255), 255, table - 1)
    reduced = table.copy()
    for old, new in (label_map or {}).items():
        table[reduced == old] = new
    return table.astype(np.uint8)[seg_map]
