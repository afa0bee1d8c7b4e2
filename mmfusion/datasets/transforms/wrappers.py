"""Stock transforms that know three channels, made fit for pairs."""

import copy
import random
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose

from mmfusion.registry import TRANSFORMS

from .stock import GEOMETRIC, library_name


@TRANSFORMS.register_module()
class VisibleOnly(BaseTransform):
    """Run photometric transforms on the visible channels alone.

    Stock photometric transforms take three channels; on four they raise, do nothing, or alter the infrared channel. Some
    give floating-point values, even beyond 0 and 255: those are rounded and clipped to uint8.

    Args:
        transforms: Configs of the transforms, such as ``dict(type='mmdet.YOLOXHSVRandomAug')``.

    Raises:
        ValueError: If a transform is geometric, or changed the size or number of channels of the image, or the image is no
            pair.
    """

    def __init__(self, transforms: list[dict]) -> None:
        self.transforms = Compose(transforms)
        for transform in self.transforms.transforms:
            if library_name(transform) in GEOMETRIC:
                raise ValueError(
                    f'VisibleOnly: {transform} is geometric; the infrared image would no longer lie on the visible one. '
                    'Use it unwrapped or, if it knows three channels only, in mmfusion.ForEachModality.'
                )

    def transform(self, results: dict) -> dict | None:
        """Change the visible channels of ``img``."""
        pair = _pair(results, 'VisibleOnly')
        results['img'] = np.ascontiguousarray(pair[..., :3])
        results = self.transforms(results)
        if results is None:
            return None
        vi = results['img']
        if vi.shape != (*pair.shape[:2], 3):
            hint = (
                'a visible image has three channels (RandomGrayscale: keep_channels=True)'
                if vi.shape[:2] == pair.shape[:2]
                else 'the infrared image would no longer lie on it. Wrap geometric transforms in mmfusion.ForEachModality'
            )
            raise ValueError(f'VisibleOnly: {self.transforms} turned {(*pair.shape[:2], 3)} into {vi.shape}; {hint}.')
        results['img'] = np.concatenate([_to_uint8(vi), pair[..., 3:]], axis=2)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms})'


@TRANSFORMS.register_module()
class ForEachModality(BaseTransform):
    """Run a three-channel geometric transform on each modality, from one random state.

    The visible image goes through first; then, with the random generators set back, the infrared image repeated to three
    channels. For Mosaic, MixUp, Expand, RandomCutOut, RandomAffine with a border value, and Pad with three values: those
    either raise on four channels or fill the infrared one wrongly. Annotations are taken from the visible pass.

    In a ``MultiImageMixDataset`` (mmdet's or mmseg's) the transform's ``get_indexes`` or ``get_indices`` and
    ``mix_results`` work as usual.

    Args:
        transform: Config of one transform.
        to_float32: The transform takes float32 only (RandomCenterCropPad); what it gives is rounded to uint8.

    Raises:
        ValueError: If the two passes gave different sizes, so that the transform drew its randomness elsewhere, or an image
            is no pair.
    """

    def __init__(self, transform: dict, to_float32: bool = False) -> None:
        self.to_float32 = to_float32
        # Two instances: a transform with a cache (CachedMosaic) keeps one for each modality.
        self.vi, self.ir = TRANSFORMS.build(transform), TRANSFORMS.build(transform)

    def __getattr__(self, name: str) -> Any:
        # What to mix in is asked for under one name by mmdet's MultiImageMixDataset, under another by mmseg's. Not kept as
        # an attribute: mmcv's bound methods hold a weak reference, which cannot be sent to a worker process.
        if name in ('get_indexes', 'get_indices'):
            return getattr(self.vi, name)
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def transform(self, results: dict) -> dict | None:
        """Run both passes and join them."""
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        infrared = self._part(copy.copy(results), infrared=True, duplicate=True)
        vi = self.vi(self._part(results, infrared=False, duplicate=False))
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        ir = self.ir(infrared)
        if vi is None or ir is None:
            return None
        if vi['img'].shape != ir['img'].shape:
            raise ValueError(
                f'ForEachModality: {self.vi} gave {vi["img"].shape} for the visible and {ir["img"].shape} for the infrared '
                'image: it does not draw from the global generators of random, NumPy or torch.'
            )
        vi['img'] = np.concatenate([vi['img'], ir['img'][..., :1]], axis=2)
        if self.to_float32:
            vi['img'] = _to_uint8(vi['img'])
        return vi

    def _part(self, results: dict, infrared: bool, duplicate: bool) -> dict:
        """One modality as three channels, and of samples to be mixed in."""
        pair = _pair(results, 'ForEachModality')
        del results['img']
        mixed = results.pop('mix_results', None)
        if duplicate:
            annotations = copy.deepcopy(results)
        else:
            annotations = results
        annotations['img'] = np.repeat(pair[..., 3:], 3, axis=2) if infrared else np.ascontiguousarray(pair[..., :3])
        if self.to_float32:
            annotations['img'] = annotations['img'].astype(np.float32)
        if mixed is not None:
            annotations['mix_results'] = [self._part(copy.copy(m), infrared, True) for m in mixed]
        return annotations

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transform={self.vi}, to_float32={self.to_float32})'


def _to_uint8(img: np.ndarray) -> np.ndarray:
    return img if img.dtype == np.uint8 else np.clip(np.round(img), 0, 255).astype(np.uint8)


def _pair(results: dict, wrapper: str) -> np.ndarray:
    """The image of ``results``, which must have four channels."""
    img = results['img']
    if img.ndim != 3 or img.shape[2] != 4:
        raise ValueError(
            f'{wrapper}: {results.get("img_path")} came as an array of shape {img.shape}; expected H×W×4 (B, G, R, IR), as '
            'mmfusion.LoadImagePair gives it.'
        )
    return img
