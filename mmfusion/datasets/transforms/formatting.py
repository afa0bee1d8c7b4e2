"""Packing of pipeline results into tensors and a data sample."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform, to_tensor
from mmengine.structures import InstanceData, PixelData

from mmfusion.registry import TRANSFORMS
from mmfusion.structures import FusionDataSample

# The union of what mmseg's and mmdet's packers keep, since either library's model may follow the fusion. `instances` are
# the boxes as the dataset gives them, at the size of the file: what mmdet's CocoMetric counts against without a file.
META_KEYS = (
    'img_id',
    'dataset',
    'img_path',
    'ir_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
    'instances',
    'text',
    'value_range',
    'align',
)

_MAPS = ('gt_seg_map', 'gt_edge_map', 'gt_mask_vi', 'gt_mask_ir')


@TRANSFORMS.register_module()
class PackFusionInputs(BaseTransform):
    """Pack a pair and its annotations.

    Gives ``inputs``, a 4×H×W uint8 tensor (B, G, R, IR), and ``data_samples``, a :class:`FusionDataSample` with what
    the results hold of segmentation labels (and mmseg's ``gt_edge_map``), boxes, salient-object masks and companions
    (:class:`LoadCompanions`), the last as C×H×W float32 under their own names. An array of the image's size that is none of
    these is refused.

    Args:
        channels: 4 for pairs; 3 for single images (B, G, R), as an auto-encoder trains on.
        meta_keys: Keys kept as meta information where present.
        labels_at_ori_shape: The segmentation labels were loaded after a resize and have the size of the file, at which
            mmseg scores predictions: so do mmseg's own test pipelines.

    Raises:
        ValueError: If the image has another number of channels, is not uint8, a map has another size than the image, or
            there are annotations that cannot be packed.
    """

    def __init__(
        self, meta_keys: Sequence[str] = META_KEYS, labels_at_ori_shape: bool = False, channels: int = 4
    ) -> None:
        self.meta_keys = tuple(meta_keys)
        self.labels_at_ori_shape = labels_at_ori_shape
        self.channels = channels

    def transform(self, results: dict) -> dict:
        """Pack one sample."""
        if 'img' not in results:
            raise ValueError(
                f'{results.get("img_path", "a sample")}: there is no img to pack. Begin the pipeline with '
                'mmfusion.LoadImagePair, and pack once.'
            )
        img = results['img']
        if img.ndim != 3 or img.shape[2] != self.channels:
            what = 'an image pair is H×W×4 (B, G, R, IR)' if self.channels == 4 else f'expected H×W×{self.channels}'
            raise ValueError(
                f'{results.get("img_path")}: the pipeline gave an image of shape {img.shape}; {what}. A transform before '
                'PackFusionInputs dropped or added channels: wrap it in mmfusion.VisibleOnly (photometric) or '
                'mmfusion.ForEachModality (geometric).'
            )
        if img.dtype != np.uint8:
            raise ValueError(
                f'{results.get("img_path")}: the pipeline gave an image of type {img.dtype}; expected uint8. Leave '
                'normalisation to the data preprocessors.'
            )
        self._check_annotations(results)
        sample = FusionDataSample()
        if 'gt_seg_map' in results:
            sample.gt_sem_seg = _map(results['gt_seg_map'])
        if 'gt_edge_map' in results:
            sample.set_data(dict(gt_edge_map=_map(results['gt_edge_map'])))
        if 'gt_mask_vi' in results:
            # Transforms pad maps with 255 ("ignore"): what is not 1 is no object.
            sample.gt_saliency = PixelData(
                vi=to_tensor(results['gt_mask_vi'][None] == 1), ir=to_tensor(results['gt_mask_ir'][None] == 1)
            )
        if 'gt_bboxes' in results:
            self._pack_boxes(results, sample)
        for name in results.get('companions') or ():
            if name not in results:
                raise ValueError(
                    f'{results.get("img_path")}: the dataset declares the companion {name}, and it was not loaded. Add '
                    'mmfusion.LoadCompanions after the images are loaded, or take the folder out of data_prefix.'
                )
            value = np.ascontiguousarray(results[name].transpose(2, 0, 1), np.float32)
            sample.set_field(PixelData(data=torch.from_numpy(value)), name)
        sample.set_metainfo({k: results[k] for k in self.meta_keys if k in results})
        inputs = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
        return dict(inputs=inputs, data_samples=sample)

    def _check_annotations(self, results: dict) -> None:
        name = results.get('img_path')
        size, packed = results['img'].shape[:2], {'img', *_MAPS, *(results.get('companions') or ())}
        loose = [k for k, v in results.items() if isinstance(v, np.ndarray) and v.shape[:2] == size and k not in packed]
        for key in ('gt_masks', 'gt_keypoints', 'gt_depth_map', 'proposals', *loose):
            if key in results:
                raise ValueError(
                    f'{name}: PackFusionInputs does not pack {key}, and does not drop it silently. Let the dataset declare '
                    'it as a companion (docs/datasets.md), or remove it in the pipeline.'
                )
        for key in (*_MAPS, *(results.get('companions') or ())):
            what, size = 'image after the transforms', results['img'].shape[:2]
            hint = 'One of the transforms moved the image and not this map.'
            if key == 'gt_seg_map' and self.labels_at_ori_shape:
                what, size = 'file of the image', tuple(results['ori_shape'])
                hint = 'labels_at_ori_shape=True is for labels that are loaded after all geometric transforms.'
            elif key == 'gt_seg_map':
                hint += (
                    ' If the labels were loaded after a resize, to score at full size, set labels_at_ori_shape=True.'
                )
            if key in results and results[key].shape[:2] != size:
                raise ValueError(f'{name}: {key} is {results[key].shape} but the {what} {size} (height, width). {hint}')

    @staticmethod
    def _pack_boxes(results: dict, sample: FusionDataSample) -> None:
        bboxes = results['gt_bboxes']
        bboxes = (
            bboxes.tensor if hasattr(bboxes, 'tensor') else to_tensor(np.asarray(bboxes, np.float32).reshape(-1, 4))
        )
        labels = to_tensor(np.asarray(results['gt_bboxes_labels'], np.int64))
        ignore = np.asarray(results.get('gt_ignore_flags', np.zeros(len(labels))), bool)
        keep = torch.from_numpy(~ignore)
        sample.gt_instances = InstanceData(bboxes=bboxes[keep], labels=labels[keep])
        sample.ignored_instances = InstanceData(bboxes=bboxes[~keep], labels=labels[~keep])

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(meta_keys={self.meta_keys}, labels_at_ori_shape={self.labels_at_ori_shape}, '
            f'channels={self.channels})'
        )


def _map(array: np.ndarray) -> PixelData:
    return PixelData(data=to_tensor(array[None].astype(np.int64)))
