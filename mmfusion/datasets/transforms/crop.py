"""Patches that hold salient objects."""

import warnings
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS

_Place = tuple[slice, slice]


@TRANSFORMS.register_module()
class ForegroundCrop(BaseTransform):
    """Crop a random patch that holds a salient pixel (OCCO, section 4.1.2).

    The image and all of ``seg_fields`` are cut alike. An image smaller than the patch is first extended by reflection.

    Required keys: ``img``, ``gt_mask_vi``, ``gt_mask_ir``. Changed keys: ``img``, ``img_shape``, ``seg_fields``'.

    Args:
        crop_size: Height and width.
        draw: ``'pixel'``: a salient pixel is drawn uniformly from the union of the masks, then the patch uniformly
            among those that hold it; large objects are seen more often. ``'patch'`` (public code of OCCO): patches are
            drawn uniformly until one holds a salient pixel.
        attempts: How many patches ``'patch'`` draws; a pair of which none holds a salient pixel counts as one without
            any. The public code draws 20 for the two patches of a pair.
        empty: What to do with a pair without a salient pixel: ``'skip'``, as OCCO does (another pair takes its place;
            said in a warning), ``'random'``, any patch, or ``'error'``.
        max_skips: Skipping this many pairs in a row is an error: the masks are then wrong.

    Raises:
        ValueError: If there is no salient patch, as ``empty`` and ``max_skips`` say, or boxes, which would not be cut.
    """

    def __init__(
        self,
        crop_size: tuple[int, int] = (256, 256),
        empty: str = 'skip',
        max_skips: int = 100,
        draw: str = 'pixel',
        attempts: int = 20,
    ) -> None:
        if empty not in ('skip', 'random', 'error'):
            raise ValueError(f"empty must be 'skip', 'random' or 'error', got {empty!r}")
        if draw not in ('pixel', 'patch'):
            raise ValueError(f"draw must be 'pixel' or 'patch', got {draw!r}")
        if not isinstance(crop_size, list | tuple) or len(crop_size) != 2 or min(crop_size) < 1:
            raise ValueError(f'crop_size is {crop_size!r}; expected a height and a width above 0, such as (256, 256)')
        self.crop_size = tuple(crop_size)
        self.draw, self.attempts = draw, attempts
        self.empty, self.max_skips = empty, max_skips
        self._skipped = 0

    def transform(self, results: dict) -> dict | None:
        """Cut one sample; None where it is skipped."""
        if 'gt_bboxes' in results:
            raise ValueError('ForegroundCrop does not cut boxes; use mmdet.RandomCrop in pipelines with boxes')
        missing = [key for key in ('img', 'gt_mask_vi', 'gt_mask_ir') if key not in results]
        if missing:
            raise ValueError(
                f'{results.get("img_path")}: ForegroundCrop finds no {missing[0]}. Put mmfusion.LoadImagePair and '
                'mmfusion.LoadSaliencyMasks before it, or use mmseg.RandomCrop where there are no masks.'
            )
        # Transforms pad maps with 255 ("ignore"): what is not 1 is no object.
        salient = (results['gt_mask_vi'] == 1) | (results['gt_mask_ir'] == 1)
        shape = [max(n, c) for n, c in zip(salient.shape, self.crop_size, strict=True)]  # once it is extended
        place = self._around_a_pixel(salient, shape) if self.draw == 'pixel' else self._first_salient(salient, shape)
        if place is None and self.empty != 'random':
            return self._no_patch(results)
        place = place or self._anywhere(shape)
        self._skipped = 0
        self._extend(results)
        for key in ('img', *results.get('seg_fields', ())):
            results[key] = np.ascontiguousarray(results[key][place])
        results['img_shape'] = self.crop_size
        return results

    def _around_a_pixel(self, salient: np.ndarray, shape: Sequence[int]) -> _Place | None:
        """A patch around a salient pixel, drawn first; None without one."""
        rows, cols = np.nonzero(salient)
        if len(rows) == 0:
            return None
        k = np.random.randint(len(rows))
        return self._place(
            np.random.randint(max(0, p - c + 1), min(p, n - c) + 1)
            for p, c, n in zip((rows[k], cols[k]), self.crop_size, shape, strict=True)
        )

    def _first_salient(self, salient: np.ndarray, shape: Sequence[int]) -> _Place | None:
        """The first of some uniform patches with a salient pixel, if any."""
        for _ in range(self.attempts if salient.any() else 0):
            place = self._anywhere(shape)
            if salient[place].any():
                return place
        return None

    def _anywhere(self, shape: Sequence[int]) -> _Place:
        return self._place(np.random.randint(n - c + 1) for n, c in zip(shape, self.crop_size, strict=True))

    def _place(self, corner: Iterable[int]) -> _Place:
        return tuple(slice(p, p + c) for p, c in zip(corner, self.crop_size, strict=True))

    def _no_patch(self, results: dict) -> None:
        name = f'{results["img_path"]}: neither mask has a salient pixel'
        if self.draw == 'patch':
            name += f' in {self.attempts} random patches'
        if self.empty == 'error':
            raise ValueError(
                f"{name}, so that there is no patch to cut. Leave the pair out, make its masks again, or use empty='random'."
            )
        self._skipped += 1
        if self._skipped >= self.max_skips:
            raise ValueError(
                f'{name}, like the {self._skipped - 1} pairs before it. Look at the masks (0 and 255), or make them again '
                'with mmfusion masks.'
            )
        warnings.warn(f'{name}; another pair takes its place, as in OCCO', stacklevel=2)
        return None

    def _extend(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        bottom, right = max(0, self.crop_size[0] - height), max(0, self.crop_size[1] - width)
        if bottom or right:
            for key in ('img', *results.get('seg_fields', ())):
                results[key] = cv2.copyMakeBorder(results[key], 0, bottom, 0, right, cv2.BORDER_REFLECT_101)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size}, empty={self.empty!r}, draw={self.draw!r})'
