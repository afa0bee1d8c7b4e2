"""Loading of image pairs and of their salient-object masks."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS
from mmfusion.utils import (
    CameraPair,
    camera_pair,
    check_reading,
    read_array,
    read_infrared,
    read_mask,
    read_pair,
    refuse_equal,
)
from mmfusion.utils.decoding import read_orientation

_NOTICED = set()


@TRANSFORMS.register_module()
class LoadImagePair(BaseTransform):
    """Load a pair of images as H×W×4 uint8 (B, G, R, IR).

    One array is what lets the stock geometric transforms of mmcv, mmseg and mmdet treat both modalities alike.

    Required keys: ``img_path`` (visible), ``ir_path``; where both are one file, its four channels are R, G, B and thermal.
    Added keys: ``img``, ``img_shape``, ``ori_shape``; with ``align`` also ``align``, the file's content, by which the fused
    image stays the visible one where the infrared camera does not see.

    Args:
        depth16: How images of more than 8 bits become 8: ``'full'`` scale, or ``'stretch'`` between the image's 0.5 and
            99.5 percentiles (raw thermal data).
        value_range: Add ``value_range``, the minimum and maximum of either image, ((vi, vi), (ir, ir)) in 0…255, before
            anything is cut: what ``FusionDataPreprocessor(stretch=True)`` stretches by.
        ir_range: Infrared values that become 0 and 255, or percentiles (``'1%'``).
        ir_colormap: Palette of infrared images in colours. With ``depth16``: see :func:`mmfusion.utils.check_reading`.
        align: File of ``mmfusion align``: the infrared image, of any size, is warped into the visible one.
        cache_gb: Gigabytes of pairs that each process keeps in memory, so that their files are read once. For workers that
            persist; files that change meanwhile are not read again.

    Raises:
        ImageReadError: If a file is missing or damaged.
        ValueError: If the two images differ in size, or ``cache_gb`` is negative.
    """

    def __init__(
        self,
        depth16: str = 'full',
        value_range: bool = False,
        ir_range: Sequence[float | str] | None = None,
        ir_colormap: str | None = None,
        align: str | Path | CameraPair | None = None,
        cache_gb: float = 0,
    ) -> None:
        if cache_gb < 0:
            raise ValueError(f'cache_gb must be 0 or more, got {cache_gb!r}')
        self.reading, self.value_range = check_reading(depth16, ir_range, ir_colormap, align), value_range
        self.cache_gb, self._room, self._kept = cache_gb, cache_gb * 1e9, {}

    def _read(self, vi: str, ir: str) -> np.ndarray:
        if (vi, ir) in self._kept:
            return self._kept[vi, ir].copy()  # transforms may write into what they get
        pair = stack_pair(*read_pair(vi, ir, **self.reading), vi, ir)
        if pair.nbytes <= self._room:
            self._room -= pair.nbytes
            self._kept[vi, ir] = pair.copy()
        return pair

    def transform(self, results: dict) -> dict:
        """Read both files and stack them."""
        results['img'] = pair = self._read(results['img_path'], results['ir_path'])
        results['img_shape'] = results['ori_shape'] = pair.shape[:2]
        if 'align' in self.reading:
            results['align'] = self.reading['align']
        if self.value_range:
            results['value_range'] = tuple((int(x.min()), int(x.max())) for x in (pair[..., :3], pair[..., 3]))
        return results

    def __repr__(self) -> str:
        options = dict(self.reading, value_range=self.value_range, cache_gb=self.cache_gb)
        return f'{type(self).__name__}({", ".join(f"{key}={value!r}" for key, value in options.items())})'


@TRANSFORMS.register_module()
class WarpInfrared(BaseTransform):
    """Warp the infrared channel of a loaded pair into the visible frame.

    For files of four channels whose cameras are not aligned. A pair of two files, which may differ in size, is warped while
    it is read: ``LoadImagePair(align=FILE)``.

    Required and modified key: ``img`` (H×W×4 uint8: B, G, R, IR). Added with ``with_mask``: ``ir_seen``, H×W×1 float32, 1
    where the infrared camera sees, declared as a companion, so that losses may take it by this name.

    Args:
        align: File of ``mmfusion align``.
        with_mask: Add ``ir_seen``.
        warp: Whether to warp; not after ``LoadImagePair(align=FILE)``, which has done it.

    Raises:
        ValueError: If the file is damaged, or was made for images of another shape.
    """

    def __init__(self, align: str | Path | CameraPair, with_mask: bool = False, warp: bool = True) -> None:
        self.pair, self.with_mask, self.warp = camera_pair(align), with_mask, warp

    def transform(self, results: dict) -> dict:
        """Warp one pair."""
        img = results['img']
        if self.warp:
            ir = self.pair.bring(img[..., :3], img[..., 3], results.get('ir_path', 'the infrared channel'))
            results['img'] = np.concatenate([img[..., :3], ir[..., None]], axis=2)
            results['align'] = self.pair.to_dict()
        if self.with_mask:
            results['ir_seen'] = self.pair.seen(img.shape[:2]).astype(np.float32)[..., None]
            results['companions'] = [*(results.get('companions') or ()), 'ir_seen']
            results.setdefault('seg_fields', []).append('ir_seen')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(align={self.pair.to_dict()}, with_mask={self.with_mask}, warp={self.warp})'


def stack_pair(
    vi: np.ndarray, ir: np.ndarray, vi_name: str = 'the visible image', ir_name: str = 'the infrared image'
) -> np.ndarray:
    """Stack H×W×3 (B, G, R) and H×W into H×W×4.

    Raises:
        ValueError: If the sizes differ, or both are one picture; both are named.
    """
    refuse_two_sizes(vi, ir, vi_name, ir_name)
    _warn_of_turn(vi_name, ir_name)
    refuse_equal(vi, ir, vi_name, ir_name)
    return np.concatenate([vi, ir[..., None]], axis=2)


def refuse_two_sizes(vi: np.ndarray, ir: np.ndarray, vi_name: str, ir_name: str) -> None:
    """Refuse a pair whose images, H×W×3 and H×W, differ in size.

    Raises:
        ValueError: If they do; both are named.
    """
    if vi.shape[:2] != ir.shape[:2]:
        raise ValueError(
            f'{vi_name} is {vi.shape[1]}×{vi.shape[0]} but {ir_name} is {ir.shape[1]}×{ir.shape[0]} (width×height). '
            'A pair must be registered and of one size: `mmfusion align` finds where the infrared image lies in the visible '
            f'one, and --align FILE (align=FILE) warps it.{_turn(vi_name, ir_name)}'
        )


def _turn(vi_name: str | Path, ir_name: str | Path) -> str:
    """Say that two images were turned differently when they were read."""
    turns = [read_orientation(name) for name in (vi_name, ir_name)]
    if turns[0] == turns[1]:
        return ''
    return (
        f' {vi_name} has the EXIF orientation {turns[0]}, and {ir_name} {turns[1]}: each was turned as its own says. Where '
        'both match as they are stored, remove the tags: exiftool -Orientation= FILE.'
    )


def _warn_of_turn(vi_name: str | Path, ir_name: str | Path) -> None:
    """Say once a folder that one image of a pair was turned."""
    folder = Path(vi_name).parent
    if folder not in _NOTICED and (turn := _turn(vi_name, ir_name)):
        _NOTICED.add(folder)
        warnings.warn(turn.strip(), stacklevel=3)


@TRANSFORMS.register_module()
class LoadSaliencyMasks(BaseTransform):
    """Load masks of each modality's objects (OCCO's ``mask_vi`` and ``mask_ir``).

    Required keys: ``mask_vi_path``, ``mask_ir_path``, ``img``. Added keys: ``gt_mask_vi``, ``gt_mask_ir`` (H×W uint8
    of 0 and 1), listed in ``seg_fields``, so that mmseg's geometric transforms move them with the image. Those of mmcv
    and mmdet do not (a flip by ``mmdet.RandomFlip`` leaves the masks behind): do not mix them with masks.

    Raises:
        KeyError: If the dataset gives no masks.
        ValueError: If a mask has another size than its image.
    """

    def transform(self, results: dict) -> dict:
        """Read both masks."""
        for name in ('mask_vi', 'mask_ir'):
            path = results.get(f'{name}_path')
            if path is None:
                raise KeyError(
                    f'{results["img_path"]}: no {name}_path. Set data_prefix of the dataset to the folders of the '
                    'masks (mask_vi_path, mask_ir_path), or make them with mmfusion masks.'
                )
            mask = read_mask(path)
            if mask.shape != results['img'].shape[:2]:
                raise ValueError(
                    f'{path} is {mask.shape[1]}×{mask.shape[0]} but its image {results["img_path"]} is '
                    f'{results["img"].shape[1]}×{results["img"].shape[0]} (width×height). Make the mask again.'
                )
            results[f'gt_{name}'] = mask
            results.setdefault('seg_fields', []).append(f'gt_{name}')
        return results


@TRANSFORMS.register_module()
class LoadCompanions(BaseTransform):
    """Load the dataset's companions, such as a registered infrared image or flow.

    An image is read as one channel in [0, 1]; a ``.npy`` of H×W or H×W×C as it is. Companions are listed in ``seg_fields``,
    so that mmseg's geometric transforms move them with the image, by nearest neighbour where they resize; the components
    of a flow are not turned by a flip.

    Required keys: ``img``, ``companions``, ``<name>_path``. Added keys: ``<name>`` (H×W×C float32).

    Raises:
        KeyError: If the dataset declares no companions.
        ValueError: If a companion has another size than its image.
    """

    def transform(self, results: dict) -> dict:
        """Read all companions."""
        if not results.get('companions'):
            raise KeyError(
                f'{results.get("img_path")}: the dataset declares no companions. Name their folders in data_prefix '
                '(<name>_path=FOLDER), or leave out LoadCompanions.'
            )
        for name in results['companions']:
            path = results[f'{name}_path']
            if Path(path).suffix == '.npy':
                value = read_array(path).astype(np.float32)
            else:
                value = read_infrared(path).astype(np.float32) / 255
            if value.shape[:2] != results['img'].shape[:2]:
                raise ValueError(
                    f'{path} is {value.shape[1]}×{value.shape[0]} but its image {results["img_path"]} is '
                    f'{results["img"].shape[1]}×{results["img"].shape[0]} (width×height). Make it again for this image.'
                )
            results[name] = value if value.ndim == 3 else value[..., None]
            results.setdefault('seg_fields', []).append(name)
        return results
