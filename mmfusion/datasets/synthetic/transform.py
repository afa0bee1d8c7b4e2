"""Rendering of synthetic scenes inside a pipeline."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.datasets.transforms.labels import map_labels
from mmfusion.datasets.transforms.loading import stack_pair
from mmfusion.registry import TRANSFORMS

from .render import cached_scene, render_scene


@TRANSFORMS.register_module()
class RenderSyntheticPair(BaseTransform):
    """Render the scene that a :class:`~mmfusion.datasets.SyntheticDataset` names.

    It fills what ``LoadImagePair``, ``LoadAnnotations`` of mmseg and mmdet and ``LoadSaliencyMasks`` fill from files.

    Required keys: ``synthetic`` (``seed``, ``index``, ``size``), ``label_map``, ``reduce_zero_label``.

    Added keys: ``img`` (H×W×4 uint8: B, G, R, IR), ``img_shape``, ``ori_shape``; ``gt_mask_vi``, ``gt_mask_ir`` and
    ``gt_seg_map`` (H×W uint8, in ``seg_fields``); ``gt_bboxes`` (mmdet's ``HorizontalBoxes``), ``gt_bboxes_labels``
    (int64), ``gt_ignore_flags`` (bool), and ``instances``, the boxes as a dataset gives them that reads them from files.

    Args:
        with_masks: Give the masks of salient objects.
        with_seg: Give the segmentation labels.
        with_bbox: Give the boxes.
        box_type: ``'hbox'`` as mmdet's transforms want them, or ``'array'``: a plain N×4 float32 array.
        cache_dir: Folder in which rendered scenes are kept for later epochs and runs
            (:func:`~mmfusion.datasets.synthetic.cached_scene`). By default each is rendered whenever it is asked for.

    Raises:
        KeyError: If the sample is not of a ``SyntheticDataset``.
        ValueError: If ``box_type`` is neither of the two.
    """

    def __init__(
        self,
        with_masks: bool = True,
        with_seg: bool = True,
        with_bbox: bool = True,
        box_type: str = 'hbox',
        cache_dir: str | Path | None = None,
    ) -> None:
        if box_type not in ('hbox', 'array'):
            raise ValueError(f"box_type must be 'hbox' or 'array', got {box_type!r}")
        self.with_masks, self.with_seg, self.with_bbox, self.box_type = with_masks, with_seg, with_bbox, box_type
        self.cache_dir = cache_dir

    def transform(self, results: dict) -> dict:
        """Render one scene."""
        if 'synthetic' not in results:
            raise KeyError(
                f"{results.get('img_path')}: no key 'synthetic'. RenderSyntheticPair renders samples of "
                'mmfusion.SyntheticDataset; images from files are read by mmfusion.LoadImagePair.'
            )
        recipe = results['synthetic']
        scene = cached_scene(self.cache_dir, **recipe) if self.cache_dir else render_scene(**recipe)
        results['img'] = stack_pair(scene.vi, scene.ir)
        results['img_shape'] = results['ori_shape'] = scene.vi.shape[:2]
        fields = results.setdefault('seg_fields', [])
        if self.with_masks:
            results['gt_mask_vi'], results['gt_mask_ir'] = scene.mask_vi, scene.mask_ir
            fields += ['gt_mask_vi', 'gt_mask_ir']
        if self.with_seg:
            results['gt_seg_map'] = map_labels(
                scene.seg_map, results.get('label_map'), results.get('reduce_zero_label', False)
            )
            fields.append('gt_seg_map')
        if self.with_bbox:
            results['gt_bboxes'] = self._boxes(scene.bboxes)
            results['gt_bboxes_labels'] = scene.labels
            results['gt_ignore_flags'] = np.zeros(len(scene.labels), bool)
            # As datasets give boxes that they read from files: mmdet's CocoMetric counts against these where it has no file.
            results['instances'] = [
                dict(bbox=bbox, bbox_label=label, ignore_flag=0)
                for bbox, label in zip(scene.bboxes.tolist(), scene.labels.tolist(), strict=True)
            ]
        return results

    def _boxes(self, bboxes: np.ndarray):
        if self.box_type == 'array':
            return bboxes
        from mmdet.structures.bbox import HorizontalBoxes

        return HorizontalBoxes(bboxes)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(with_masks={self.with_masks}, with_seg={self.with_seg}, '
            f'with_bbox={self.with_bbox}, box_type={self.box_type!r}, cache_dir={self.cache_dir!r})'
        )
