"""Patches that hold salient objects."""

import warnings

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ForegroundCrop(BaseTransform):
    """Crop a random patch that holds at least one salient pixel of either modality (OCCO, section 4.1.2).

    A salient pixel is drawn uniformly from the union of the masks, then the patch uniformly among those that hold it. The
    image and all of ``seg_fields`` are cut alike. An image smaller than the patch is first extended by reflection.

    Required keys: ``img``, ``gt_mask_vi``, ``gt_mask_ir``. Changed keys: ``img``, ``img_shape``, ``seg_fields``'.

    Args:
        crop_size (tuple[int, int]): Height and width.
        empty (str): What to do with a pair without a salient pixel: ``'skip'``, as OCCO does (another pair takes its
            place; said in a warning), ``'random'``, any patch, or ``'error'``.
        max_skips (int): Skipping this many pairs in a row is an error: the masks are then wrong.

    Raises:
        ValueError: No salient patch, as ``empty`` and ``max_skips`` say; boxes, which would not be cut.
    """

    def __init__(self, crop_size=(256, 256), empty='skip', max_skips=100):
        if empty not in ('skip', 'random', 'error'):
            raise ValueError(f"empty must be 'skip', 'random' or 'error', got {empty!r}")
        self.crop_size = tuple(crop_size)
        self.empty, self.max_skips = empty, max_skips
        self._skipped = 0

    def transform(self, results):
        """Cut one sample; None where it is skipped."""
        if 'gt_bboxes' in results:
            raise ValueError('ForegroundCrop does not cut boxes; use mmdet.RandomCrop in pipelines with boxes')
        # Transforms pad maps with 255 ("ignore"): what is not 1 is no object.
        rows, cols = np.nonzero((results['gt_mask_vi'] == 1) | (results['gt_mask_ir'] == 1))
        if len(rows) == 0:
            if self.empty != 'random':
                return self._no_patch(results)
            rows, cols = (
                np.random.randint(results['img'].shape[0], size=1),
                np.random.randint(results['img'].shape[1], size=1),
            )
        self._skipped = 0
        self._extend(results)
        k = np.random.randint(len(rows))
        shape = results['img'].shape[:2]
        top, left = (
            np.random.randint(max(0, p - c + 1), min(p, n - c) + 1)
            for p, c, n in zip((rows[k], cols[k]), self.crop_size, shape, strict=True)
        )
        place = (slice(top, top + self.crop_size[0]), slice(left, left + self.crop_size[1]))
        for key in ('img', *results.get('seg_fields', ())):
            results[key] = np.ascontiguousarray(results[key][place])
        results['img_shape'] = self.crop_size
        return results

    def _no_patch(self, results):
        name = f'{results["img_path"]}: neither mask has a salient pixel'
        if self.empty == 'error':
            raise ValueError(
                f"{name}, so that there is no patch to cut. Leave the pair out, make its masks anew, or use empty='random'."
            )
        self._skipped += 1
        if self._skipped >= self.max_skips:
            raise ValueError(
                f'{name}, like the {self._skipped - 1} pairs before it. Look at the masks (0 and 255), or make them anew '
                'with mmfusion masks.'
            )
        warnings.warn(f'{name}; another pair takes its place, as in OCCO', stacklevel=2)
        return None

    def _extend(self, results):
        height, width = results['img'].shape[:2]
        bottom, right = max(0, self.crop_size[0] - height), max(0, self.crop_size[1] - width)
        if bottom or right:
            for key in ('img', *results.get('seg_fields', ())):
                results[key] = cv2.copyMakeBorder(results[key], 0, bottom, 0, right, cv2.BORDER_REFLECT_101)

    def __repr__(self):
        return f'{type(self).__name__}(crop_size={self.crop_size}, empty={self.empty!r})'
