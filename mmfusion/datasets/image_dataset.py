"""Single images, such as auto-encoders are trained on."""

from pathlib import Path

from mmfusion.registry import DATASETS
from mmfusion.utils import list_images

from .fusion_dataset import FusionDataset


@DATASETS.register_module()
class ImageDataset(FusionDataset):
    """Single images of a folder, ``data_prefix=dict(img_path=FOLDER)``.

    A pipeline loads them by mmcv's ``LoadImageFromFile`` and packs them by ``PackFusionInputs(channels=3)``; a fuser then
    has ``vi`` and ``vi_rgb``, and no ``ir``.
    """

    def _pairs(self):
        return [
            (stem, path, path)
            for stem, path in list_images(self.data_prefix['img_path'], self.patterns['vi_path']).items()
        ]

    def parse_pair(self, stem: str, vi: Path, ir: Path) -> dict:
        """Make the sample of one image."""
        info = super().parse_pair(stem, vi, ir)
        del info['ir_path']
        return info
