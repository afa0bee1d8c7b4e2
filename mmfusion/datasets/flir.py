"""FLIR-aligned: the registered pairs of FLIR's driving data (ICIP 2020)."""

from pathlib import Path

from mmfusion.registry import DATASETS
from mmfusion.utils import list_images

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class FLIRAlignedDataset(LayoutDataset):
    """FLIR-aligned: 4129 training and 1013 test pairs of 640×512.

    By day and night, with boxes of 3 classes. Layout, below the archive's folder ``align``: ``JPEGImages/NAME_RGB.jpg``,
    ``JPEGImages/NAME_PreviewData.jpeg``, ``Annotations/NAME_PreviewData.xml`` (Pascal VOC, drawn on the infrared images),
    and the lists ``align_train.txt`` and ``align_validation.txt``, there or in ``ImageSets/Main``. Boxes of dogs, which
    papers leave out, are left out.

    Source: H. Zhang et al., Multispectral fusion for object detection with cyclic fuse-and-refine blocks, ICIP 2020;
    https://arxiv.org/abs/2009.12664
    """

    METAINFO = dict(classes=('person', 'car', 'bicycle'), palette=[[220, 20, 60], [0, 0, 142], [119, 11, 32]])
    SPLITS = ('train', 'validation')
    FOLDERS = dict(vi_path='JPEGImages', ir_path='JPEGImages', ann_path='Annotations')
    PATTERNS = dict(vi_path='{name}_RGB', ir_path='{name}_PreviewData', ann_path='{name}_PreviewData')
    ALIASES = dict(dog=None)

    def __init__(self, split: str = 'train', ann_file: str | None = None, data_root: str = '', **kwargs) -> None:
        if ann_file is None:
            name = f'align_{split}.txt'
            nested = Path('ImageSets', 'Main', name)
            ann_file = str(nested) if Path(data_root, nested).is_file() else name
        super().__init__(split=split, ann_file=ann_file, data_root=data_root, **kwargs)

    def _pairs(self):
        """Pairs of images with a counterpart, which the archive's others lack."""
        vi, ir = (list_images(self.data_prefix[key], self.patterns[key]) for key in ('vi_path', 'ir_path'))
        return [(name, vi[name], ir[name]) for name in vi if name in ir]
