"""RoadScene: aligned pairs chosen from FLIR's video (U2Fusion, 2020)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class RoadSceneDataset(LayoutDataset):
    """RoadScene: 221 aligned pairs of about 500×300, sizes vary, without labels.

    Layout: ``crop_LR_visible/NAME.jpg`` and ``cropinfrared/NAME.jpg``. There is no official split: ``ann_file`` names a
    list, such as ``configs/_base_/datasets/splits/roadscene_train.txt``.

    Source: https://github.com/hanna-xu/RoadScene
    """

    SPLITS = ('all',)
    FOLDERS = dict(vi_path='crop_LR_visible', ir_path='cropinfrared')
