"""MFNet: urban scenes in four-channel files with segmentation labels (IROS 2017)."""

from collections.abc import Container
from pathlib import Path

from mmfusion.registry import DATASETS
from mmfusion.utils import pair_images

from .layout_dataset import LayoutDataset

# MSRS was made from MFNet and kept its classes.
MFNET_METAINFO = dict(
    classes=('unlabelled', 'car', 'person', 'bike', 'curve', 'car_stop', 'guardrail', 'color_cone', 'bump'),
    palette=[
        [0, 0, 0], [64, 0, 128], [64, 64, 0], [0, 128, 192], [0, 0, 192], [128, 128, 0], [64, 64, 128],
        [192, 128, 128], [192, 64, 0],
    ],
)  # fmt: skip


@DATASETS.register_module()
class MFNetDataset(LayoutDataset):
    """MFNet: 1569 pairs of 640×480, 9 classes, unlabelled included.

    820 are by day, 749 by night. Layout: ``images/NAME.png`` with four channels (R, G, B, thermal), ``labels/NAME.png``,
    and the official lists ``train.txt``, ``val.txt``, ``test.txt``, ``test_day.txt``, ``test_night.txt``. As both images
    are in one file, ``img_path`` equals ``ir_path``, and the pipeline begins with ``LoadMFNetPair`` in place of
    ``LoadImagePair``.

    Source: https://www.mi.t.u-tokyo.ac.jp/static/projects/mil_multispectral/

    Args:
        split: Name of an official list without suffix.
        keep_flipped: Keep the names that end in ``_flip``: mirrored copies which the dataset's own script makes and
            lists. They are left out by default, as ``RandomFlip`` does the same.
        **kwargs: Those of :class:`LayoutDataset`.
    """

    METAINFO = MFNET_METAINFO
    SPLITS = ('train', 'val', 'test', 'test_day', 'test_night')
    FOLDERS = dict(vi_path='images', ir_path='images', seg_map_path='labels')

    def __init__(self, split: str = 'train', keep_flipped: bool = False, ann_file: str | None = None, **kwargs) -> None:
        self.keep_flipped = keep_flipped
        super().__init__(split=split, ann_file=f'{split}.txt' if ann_file is None else ann_file, **kwargs)

    def _pairs(self):
        return pair_images(
            self.data_prefix.get('rgbt_path') or self.data_prefix['vi_path'], vi_pattern=self.patterns['vi_path']
        )

    def _names(self, file: Path, known: Container[str]) -> list[str]:
        names = super()._names(file, known)
        return names if self.keep_flipped else [n for n in names if not n.endswith('_flip')]
